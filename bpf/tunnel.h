/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * DSR by IP in IP (RFC 2003, RFC 2473) at TC: wrapping a packet for the backend's node, which opens it (tunnelled.h).
 * The outer header goes from this node's address to the pod's, so any network that carries pod traffic carries it.
 */
#ifndef WEIR_TUNNEL_H
#define WEIR_TUNNEL_H

#include "tc.h"

enum {
	TUNNEL_HOP_LIMIT = 64,
	TUNNEL_V4 = sizeof(struct iphdr),
	TUNNEL_V6 = sizeof(struct ipv6hdr),
};

static __always_inline __u32 tunnel_overhead(__u8 family)
{
	return family == FAMILY_V4 ? TUNNEL_V4 : TUNNEL_V6;
}

/* Made of whole words in registers: a header assembled field by field costs as much again as the rest of the program. */
static __always_inline void outer_v4(struct iphdr *outer, __u8 tos, __u32 inner_length, __be32 from, __be32 to)
{
	__be32 *words = (__be32 *)outer;
	__be32 first = bpf_htonl(0x45000000 | (__u32)tos << 16 | (inner_length + TUNNEL_V4));
	__be32 second = bpf_htonl(IP_DONT_FRAGMENT);
	__be32 third = bpf_htonl(TUNNEL_HOP_LIMIT << 24 | PROTOCOL_IPIP << 16);
	__u16 check = ~fold((__u64)first + second + third + from + to);

	words[0] = first;
	words[1] = second;
	words[2] = third | bpf_htonl(bpf_ntohs(check));
	words[3] = from;
	words[4] = to;
}

/* first: the inner header's first word, for traffic class and flow label. */
static __always_inline void outer_v6(struct ipv6hdr *outer, __be32 first, __u32 inner_length, const struct ip *from,
				     const struct ip *to)
{
	*(__be32 *)outer = first;
	outer->payload_len = bpf_htons(inner_length);
	outer->nexthdr = PROTOCOL_IP6IP6;
	outer->hop_limit = TUNNEL_HOP_LIMIT;
	__builtin_memcpy(&outer->saddr, from, sizeof(*from));
	__builtin_memcpy(&outer->daddr, to, sizeof(*to));
}

/* Writes the outer header in front of the network header. */
static __always_inline long wrap(struct __sk_buff *skb, struct packet *p, const struct ip *from, const struct ip *to)
{
	if (p->family == FAMILY_V4) {
		struct iphdr outer;
		__u8 tos = 0;

		bpf_skb_load_bytes(skb, p->l3 + offsetof(struct iphdr, tos), &tos, sizeof(tos));
		if (bpf_skb_adjust_room(skb, TUNNEL_V4, BPF_ADJ_ROOM_MAC,
					BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_FIXED_GSO))
			return -1;
		/* an skb that is still to be segmented says its own length, not the header's */
		outer_v4(&outer, tos, skb->len - p->l3 - TUNNEL_V4, ip_v4(from), ip_v4(to));
		return bpf_skb_store_bytes(skb, p->l3, &outer, sizeof(outer), 0);
	}
	struct ipv6hdr outer;
	__be32 first = 0;

	bpf_skb_load_bytes(skb, p->l3, &first, sizeof(first));
	if (bpf_skb_adjust_room(skb, TUNNEL_V6, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 | BPF_F_ADJ_ROOM_FIXED_GSO))
		return -1;
	outer_v6(&outer, first, skb->len - p->l3 - TUNNEL_V6, from, to);
	return bpf_skb_store_bytes(skb, p->l3, &outer, sizeof(outer), BPF_F_RECOMPUTE_CSUM);
}

/* Length from the network header on, of what leaves the device: one segment where the skb is to be cut. */
static __always_inline __u32 segment_length(struct __sk_buff *skb, const struct packet *p)
{
	__u32 header = sizeof(struct tcphdr);
	__u8 offset = 0;

	if (!skb->gso_size)
		return p->length;
	if (is_tcp(p) && bpf_skb_load_bytes(skb, p->l4 + 12, &offset, 1) == 0)
		header = (offset >> 4) * 4;
	else if (!is_tcp(p))
		header = sizeof(struct udphdr);
	return p->l4 - p->l3 + header + skb->gso_size;
}

/* Sends the packet to a backend of another node, as the client sent it, inside a tunnel. */
__noinline enum step send_tunnelled(struct __sk_buff *skb, struct packet *p, struct flow *flow, long *action)
{
	if (!p || !flow || !action)
		return STEP_PASS;
	struct bpf_fib_lookup fib;
	struct uplink *uplink;
	struct ip from;
	long route;

	if (p->hop_limit <= 1)
		return STEP_PASS;
	route = route_find(skb, &fib, p->family, p->ifindex, &p->tuple.source, &flow->address);
	if (!route_usable(route) && route != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return drop(p, REASON_NO_ROUTE);
	uplink = uplink_of(fib.ifindex);
	if (!uplink)
		return drop(p, REASON_NO_ROUTE);
	if (segment_length(skb, p) + tunnel_overhead(p->family) > uplink->mtu) {
		p->mtu = uplink->mtu - tunnel_overhead(p->family);
		return STEP_TOO_BIG;
	}
	from = p->family == FAMILY_V4 ? uplink->address4 : uplink->address6;
	if (wrap(skb, p, &from, &flow->address))
		return drop(p, REASON_INTERNAL);
	if (p->reason != REASON_UNRECORDED)
		p->reason = REASON_FORWARDED_DSR;
	return send_by(&fib, action);
}

#endif
