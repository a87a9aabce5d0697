/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A router between this node and a backend's finds our tunnel too big: it tells us, and the client has to know (RFC 2003 section
 * 4.1, RFC 2473 section 8.1). What it quotes of the client's packet becomes an error about that.
 */
#ifndef WEIR_TUNNEL_ERROR_H
#define WEIR_TUNNEL_ERROR_H

#include "icmp.h"

enum {
	MTU_MIN_V4 = 68, /* RFC 791 section 3.2 */
	MTU_MIN_V6 = 1280, /* RFC 8200 section 5 */
};

/* The MTU that the client may use, 0 where the message is no "too big" or says none. */
static __always_inline __u32 tunnel_mtu(struct __sk_buff *skb, const struct packet *p)
{
	struct icmp_header icmp;
	__u32 overhead = tunnel_overhead(p->family), mtu, least;

	if (p->fragment || bpf_skb_load_bytes(skb, p->l4, &icmp, sizeof(icmp)))
		return 0;
	if (p->family == FAMILY_V4) {
		if (icmp.type != ICMP4_UNREACHABLE || icmp.code != ICMP4_TOO_BIG)
			return 0;
		mtu = bpf_ntohl(icmp.rest) & 0xffff;
		least = MTU_MIN_V4;
	} else {
		if (icmp.type != ICMP6_TOO_BIG)
			return 0;
		mtu = bpf_ntohl(icmp.rest);
		least = MTU_MIN_V6;
	}
	if (mtu <= overhead || mtu > 0xffff)
		return 0;
	return mtu - overhead < least ? least : mtu - overhead;
}

/* Reads the packet that the quoted tunnel carried; its flow where it is one that we have tunnelled there. */
static __always_inline struct flow *tunnel_quoted(struct __sk_buff *skb, const struct packet *p, struct quote *q)
{
	struct ip endpoint;
	struct flow *flow;

	q->l3 = p->l4 + sizeof(struct icmp_header);
	if (!quote_network(skb, p, q) || !ip_equal(&q->tuple.source, &p->tuple.destination) ||
	    q->tuple.protocol != (p->family == FAMILY_V4 ? PROTOCOL_IPIP : PROTOCOL_IP6IP6))
		return NULL;
	endpoint = q->tuple.destination;
	q->l3 = q->l4;
	if (!quote_network(skb, p, q) || !quote_ports(skb, q))
		return NULL;
	flow = flow_find(p->family, &q->tuple);
	if (!flow || flow->kind != FLOW_FORWARD || flow->forwarding != FORWARDING_DSR || flow->flags & FLOW_LOCAL ||
	    !ip_equal(&flow->address, &endpoint))
		return NULL;
	return flow;
}

/* An error about a tunnel of ours: STEP_TOO_BIG, with the client's packet, as much as is quoted of it, in its place. */
__noinline enum step tunnel_error(struct __sk_buff *skb, struct packet *p)
{
	if (!p)
		return STEP_PASS;
	struct quote q = {};
	__u32 mtu = tunnel_mtu(skb, p);

	if (!mtu || !tunnel_quoted(skb, p, &q))
		return STEP_NEXT;
	if (bpf_skb_adjust_room(skb, -(__s32)(q.l3 - p->l3), BPF_ADJ_ROOM_MAC, 0))
		return drop(p, REASON_INTERNAL);
	__builtin_memcpy(&p->tuple, &q.tuple, sizeof(q.tuple));
	p->l4 = p->l3 + (q.l4 - q.l3);
	p->mtu = mtu;
	p->elsewhere = 1;
	return STEP_TOO_BIG;
}

#endif
