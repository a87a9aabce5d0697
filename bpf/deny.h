/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What becomes of a packet that policy denies: its fresh flow is forgotten, and its sender told, where that is wanted. */
#ifndef WEIR_DENY_H
#define WEIR_DENY_H

#include "answer.h"
#include "flow.h"

/* Forgets the entries of a flow that has been recorded for this very packet: it leads nowhere. */
__noinline int forget_fresh(struct packet *p, struct flow *flow)
{
	if (!p || !flow || !p->fresh)
		return 0;
	struct flow6_key key = p->tuple;

	flow_forget(p->family, &key, flow->nat_port);
	key.source = flow->address;
	key.source_port = flow->port;
	key.destination_port = flow->nat_port;
	if (flow->flags & FLOW_SNAT) {
		key.destination = flow->nat;
		bpf_map_delete_elem(&weir_snat, &key);
	} else {
		key.destination = p->tuple.source;
		flow_forget(p->family, &key, p->tuple.source_port);
	}
	return 0;
}

/* RFC 1122 section 3.2.2, RFC 4443 section 2.4: no error answers an error, a group's packet or a fragment without its beginning. */
static __always_inline bool is_answerable(struct __sk_buff *skb, const struct packet *p)
{
	const __u8 *to = p->tuple.destination.b;
	__u8 type = 0;

	if (p->fragment == FRAGMENT_LATER || (p->family == FAMILY_V4 ? to[12] >= 224 : to[0] == 0xff))
		return false;
	if (!is_icmp(p))
		return true;
	bpf_skb_load_bytes(skb, p->l4, &type, sizeof(type));
	return type == (p->family == FAMILY_V4 ? ICMP4_ECHO : ICMP6_ECHO);
}

/* Tells the sender that this is administratively prohibited: TCP by RST, the rest by ICMP. */
static __always_inline must_use enum step reject(struct __sk_buff *skb, struct packet *p)
{
	struct icmp_header icmp = { .type = ICMP4_UNREACHABLE, .code = ICMP4_PROHIBITED };

	if (!is_answerable(skb, p))
		return drop(p, p->reason);
	if (is_tcp(p))
		return answer_reset(skb, p);
	if (p->family == FAMILY_V6) {
		icmp.type = ICMP6_UNREACHABLE;
		icmp.code = ICMP6_PROHIBITED;
	}
	return answer_icmp(skb, p, &icmp, p->reason);
}

#endif
