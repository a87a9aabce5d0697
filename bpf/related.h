/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP in the eyes of policy: errors belong to the flow that they quote, echoes are flows of their own by their identifier. */
#ifndef WEIR_RELATED_H
#define WEIR_RELATED_H

#include "matter.h"
#include "quote.h"

/* Does the error concern an admitted flow of this pod, and go where that flow's packets go? */
static __noinline bool related(struct __sk_buff *skb, struct packet *p, struct matter *m, struct config *config)
{
	struct quote q = {};
	struct admitted *entry;
	struct flow *flow;

	if (!quote_read(skb, p, &q))
		return false;
	if (!ip_equal(&p->tuple.destination, &q.tuple.source) ||
	    (m->leaving && !ip_equal(&p->tuple.source, &q.tuple.destination)))
		return false;
	tuple_reverse(&m->tuple, &q.tuple); /* the error goes the way of the answers */
	flow = m->leaving ? flow_find(p->family, &m->tuple) : NULL;
	if (flow && flow->kind == FLOW_FORWARD)
		follow_flow(m, flow);
	else
		unmask(m, config);
	m->ascending = admitted_key(&m->key, &m->tuple);
	entry = admitted_find(p->family, p->now, &m->key);
	if (ip_equal(&m->tuple.source, &m->tuple.destination) || (entry && is_current(m, entry)))
		return true;
	__builtin_memcpy(&m->tuple, &p->tuple, sizeof(m->tuple));
	return false;
}

/* The identifier stands for the port of the end that asked (RFC 792, RFC 4443 section 4). */
static __always_inline void echo_ports(struct __sk_buff *skb, const struct packet *p, struct flow6_key *tuple)
{
	struct icmp_header header;
	__be16 identifier;
	bool v4 = p->family == FAMILY_V4;

	if (p->fragment == FRAGMENT_LATER || bpf_skb_load_bytes(skb, p->l4, &header, sizeof(header)))
		return;
	identifier = header.rest & 0xffff;
	if (header.type == (v4 ? ICMP4_ECHO : ICMP6_ECHO))
		tuple->source_port = identifier;
	if (header.type == (v4 ? ICMP4_ECHO_REPLY : ICMP6_ECHO_REPLY))
		tuple->destination_port = identifier;
}

#endif
