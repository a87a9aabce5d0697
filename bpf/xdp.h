/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Acting on an XDP frame that leaves this node at once: encapsulation, translation. Everything has been decided and looked up
 * before the first byte is written, so that a frame is either sent or handed to the stack untouched.
 */
#ifndef WEIR_XDP_H
#define WEIR_XDP_H

#include "parse.h"
#include "route.h"
#include "tunnel.h"

static __always_inline void *xdp_data(const struct xdp_md *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *xdp_end(const struct xdp_md *ctx)
{
	return (void *)(long)ctx->data_end;
}

/* May the frame leave by this uplink? A redirect into a device that takes no XDP frames would lose it. */
static __always_inline bool xdp_can_send(const struct packet *p, const struct uplink *uplink)
{
	return uplink->ifindex == p->ifindex || uplink->flags & DEVICE_XDP;
}

static __always_inline must_use enum step xdp_send(struct packet *p, const struct uplink *uplink, long *action)
{
	if (uplink->ifindex == p->ifindex)
		return STEP_TRANSMIT;
	*action = bpf_redirect(uplink->ifindex, 0);
	return STEP_SENT;
}

static __always_inline void write_ethernet(struct ethhdr *eth, __u64 where, const struct uplink *uplink, __u8 family)
{
	__builtin_memcpy(eth->h_dest, &where, ETH_ALEN);
	__builtin_memcpy(eth->h_source, uplink->mac, ETH_ALEN);
	eth->h_proto = bpf_htons(family == FAMILY_V4 ? ETH_P_IP : ETH_P_IPV6);
}

static __always_inline must_use enum step xdp_wrap_v4(struct xdp_md *ctx, struct packet *p, struct flow *flow, __u64 where,
						      const struct uplink *uplink)
{
	struct ethhdr *eth;
	struct iphdr *outer;
	__u8 tos = ((struct iphdr *)(xdp_data(ctx) + sizeof(*eth)))->tos;

	if (bpf_xdp_adjust_head(ctx, -TUNNEL_V4))
		return STEP_PASS;
	eth = xdp_data(ctx);
	outer = (void *)(eth + 1);
	if ((void *)(outer + 1) > xdp_end(ctx))
		return drop(p, REASON_INTERNAL);
	write_ethernet(eth, where, uplink, FAMILY_V4);
	outer_v4(outer, tos, p->length, ip_v4(&uplink->address4), ip_v4(&flow->address));
	return STEP_NEXT;
}

static __always_inline must_use enum step xdp_wrap_v6(struct xdp_md *ctx, struct packet *p, struct flow *flow, __u64 where,
						      const struct uplink *uplink)
{
	struct ethhdr *eth;
	struct ipv6hdr *outer;
	__be32 first = *(__be32 *)(xdp_data(ctx) + sizeof(*eth));

	if (bpf_xdp_adjust_head(ctx, -TUNNEL_V6))
		return STEP_PASS;
	eth = xdp_data(ctx);
	outer = (void *)(eth + 1);
	if ((void *)(outer + 1) > xdp_end(ctx))
		return drop(p, REASON_INTERNAL);
	write_ethernet(eth, where, uplink, FAMILY_V6);
	outer_v6(outer, first, p->length, &uplink->address6, &flow->address);
	return STEP_NEXT;
}

static __always_inline must_use enum step xdp_send_tunnelled(struct xdp_md *ctx, struct packet *p, struct flow *flow, __u64 where,
							     long *action)
{
	struct uplink *uplink = hop_uplink(where);
	enum step step;

	if (!uplink || !xdp_can_send(p, uplink) || p->length + tunnel_overhead(p->family) > uplink->mtu)
		return STEP_PASS;
	if (xdp_data(ctx) + sizeof(struct ethhdr) + sizeof(struct iphdr) > xdp_end(ctx))
		return STEP_PASS;
	step = p->family == FAMILY_V4 ? xdp_wrap_v4(ctx, p, flow, where, uplink) : xdp_wrap_v6(ctx, p, flow, where, uplink);
	if (step != STEP_NEXT)
		return step;
	if (p->reason != REASON_UNRECORDED)
		p->reason = REASON_FORWARDED_DSR;
	return xdp_send(p, uplink, action);
}

/* Sum of the 16-bit words of an address and a port, unfolded. */
static __always_inline __u64 end_sum(__u8 family, const struct ip *address, __be16 port)
{
	const __u32 *w = (const __u32 *)address;
	__u64 sum = (__u64)w[3] + port;

	return family == FAMILY_V4 ? sum : sum + w[0] + w[1] + w[2];
}

/* RFC 1624: ~(~old + ~removed + added), over folded sums. */
static __always_inline __u16 checksum_update(__u16 old, __u64 removed, __u64 added)
{
	return ~fold((__u64)(__u16)~old + (__u16)~fold(removed) + fold(added));
}

static __always_inline void translate_v4(struct iphdr *ip, const struct flow6_key *from, const struct flow6_key *to)
{
	__u64 removed = end_sum(FAMILY_V4, &from->source, 0) + end_sum(FAMILY_V4, &from->destination, 0) + bpf_htons(0x0100);
	__u64 added = end_sum(FAMILY_V4, &to->source, 0) + end_sum(FAMILY_V4, &to->destination, 0);

	ip->saddr = ip_v4(&to->source);
	ip->daddr = ip_v4(&to->destination);
	ip->ttl--; /* the 1 is in the upper byte of its word */
	ip->check = checksum_update(ip->check, removed, added);
}

static __always_inline void translate_v6(struct ipv6hdr *ip, const struct flow6_key *to)
{
	__builtin_memcpy(&ip->saddr, &to->source, sizeof(struct ip));
	__builtin_memcpy(&ip->daddr, &to->destination, sizeof(struct ip));
	ip->hop_limit--;
}

/* Ports and checksum; false, with nothing written, where the header is not all there. */
static __always_inline must_use bool translate_transport(struct packet *p, void *l4, void *end, const struct flow6_key *to)
{
	__u64 removed = end_sum(p->family, &p->tuple.source, p->tuple.source_port) +
			end_sum(p->family, &p->tuple.destination, p->tuple.destination_port);
	__u64 added =
		end_sum(p->family, &to->source, to->source_port) + end_sum(p->family, &to->destination, to->destination_port);

	if (is_tcp(p)) {
		struct tcphdr *tcp = l4;

		if ((void *)(tcp + 1) > end)
			return false;
		tcp->source = to->source_port;
		tcp->dest = to->destination_port;
		tcp->check = checksum_update(tcp->check, removed, added);
		return true;
	}
	struct udphdr *udp = l4;

	if ((void *)(udp + 1) > end)
		return false;
	udp->source = to->source_port;
	udp->dest = to->destination_port;
	if (udp->check) {
		udp->check = checksum_update(udp->check, removed, added);
		if (!udp->check)
			udp->check = 0xffff;
	}
	return true;
}

/* Replaces both ends of the packet and sends it to the next hop. TCP and UDP only. */
static __always_inline must_use enum step xdp_send_translated(struct xdp_md *ctx, struct packet *p, const struct flow6_key *to,
							      __u64 where, enum reason reason, long *action)
{
	struct uplink *uplink = hop_uplink(where);
	void *data = xdp_data(ctx), *end = xdp_end(ctx);
	void *l4 = at_offset(data, p->l4, HEADERS_MAX);

	asm volatile("" : "+r"(l4)); /* one pointer for check and use: clang would compute it twice */
	if (!uplink || !xdp_can_send(p, uplink) || p->length > uplink->mtu)
		return STEP_PASS;
	if (p->family == FAMILY_V4) {
		if (data + sizeof(struct ethhdr) + sizeof(struct iphdr) > end || !translate_transport(p, l4, end, to))
			return STEP_PASS;
		translate_v4(data + sizeof(struct ethhdr), &p->tuple, to);
	} else {
		if (data + sizeof(struct ethhdr) + sizeof(struct ipv6hdr) > end || !translate_transport(p, l4, end, to))
			return STEP_PASS;
		translate_v6(data + sizeof(struct ethhdr), to);
	}
	write_ethernet(data, where, uplink, p->family);
	p->reason = reason;
	return xdp_send(p, uplink, action);
}

#endif
