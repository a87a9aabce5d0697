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
	__u16 *to = (__u16 *)eth;
	const __u16 *mac = (const __u16 *)uplink->mac;

	to[0] = where;
	to[1] = where >> 16;
	to[2] = where >> 32;
	to[3] = mac[0];
	to[4] = mac[1];
	to[5] = mac[2];
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

static __always_inline __u16 checksum_update(__u16 old, __u64 difference)
{
	return ~fold((__u16)~old + difference);
}

/* Only the Ethernet addresses change, and the hop limit; a gateway would not know what to do with the frame. */
static __always_inline must_use enum step xdp_send_l2(struct xdp_md *ctx, struct packet *p, __u64 where, long *action)
{
	struct uplink *uplink = hop_uplink(where);
	struct ethhdr *eth = xdp_data(ctx);

	if (!uplink || where & HOP_GATEWAY || !xdp_can_send(p, uplink) || p->length > uplink->mtu)
		return STEP_PASS;
	if (p->family == FAMILY_V4) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > xdp_end(ctx))
			return STEP_PASS;
		ip->ttl--; /* the 1 is in the upper byte of its word */
		ip->check = checksum_update(ip->check, (__u16)~bpf_htons(0x0100));
	} else {
		struct ipv6hdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > xdp_end(ctx))
			return STEP_PASS;
		ip->hop_limit--;
	}
	write_ethernet(eth, where, uplink, p->family);
	if (p->reason != REASON_UNRECORDED)
		p->reason = REASON_FORWARDED_L2;
	return xdp_send(p, uplink, action);
}

/*
 * What replacing one address by another does to a checksum over it (RFC 1624, equation 3), unfolded: sums of 32-bit words are as
 * good as sums of 16-bit words until they are folded.
 */
static __always_inline __u64 address_difference(__u8 family, const struct ip *from, const struct ip *to)
{
	const __u32 *old = (const __u32 *)from, *new = (const __u32 *)to;
	__u64 sum = (__u64)(__u32)~old[3] + new[3];

	if (family == FAMILY_V6)
		sum += (__u64)(__u32)~old[0] + new[0] + (__u32)~old[1] + new[1] + (__u32)~old[2] + new[2];
	return sum;
}

/* One end of a packet as it is to be. */
struct end {
	const struct ip *address;
	__be16 port;
};

static __always_inline __u64 port_difference(const struct flow6_key *from, struct end source, struct end destination)
{
	__u32 old = (__u32)from->source_port << 16 | from->destination_port;
	__u32 new = (__u32)source.port << 16 | destination.port;

	return (__u64)(__u32)~old + new;
}

static __always_inline void translate_v4(struct iphdr *ip, struct end source, struct end destination, __u64 addresses)
{
	ip->saddr = ip_v4(source.address);
	ip->daddr = ip_v4(destination.address);
	ip->ttl--; /* the 1 is in the upper byte of its word */
	ip->check = checksum_update(ip->check, addresses + (__u16)~bpf_htons(0x0100));
}

static __always_inline void translate_v6(struct ipv6hdr *ip, struct end source, struct end destination)
{
	__builtin_memcpy(&ip->saddr, source.address, sizeof(struct ip));
	__builtin_memcpy(&ip->daddr, destination.address, sizeof(struct ip));
	ip->hop_limit--;
}

/* Ports and checksum; false, with nothing written, where the header is not all there. */
static __always_inline must_use bool translate_transport(struct packet *p, void *l4, void *end, struct end source,
							 struct end destination, __u64 addresses)
{
	__u64 difference = addresses + port_difference(&p->tuple, source, destination);

	if (is_tcp(p)) {
		struct tcphdr *tcp = l4;

		if ((void *)(tcp + 1) > end)
			return false;
		tcp->source = source.port;
		tcp->dest = destination.port;
		tcp->check = checksum_update(tcp->check, difference);
		return true;
	}
	struct udphdr *udp = l4;

	if ((void *)(udp + 1) > end)
		return false;
	udp->source = source.port;
	udp->dest = destination.port;
	if (udp->check) {
		udp->check = checksum_update(udp->check, difference);
		if (!udp->check)
			udp->check = 0xffff;
	}
	return true;
}

/* Replaces both ends of the packet and sends it to the next hop. TCP and UDP only. */
static __always_inline must_use enum step xdp_send_translated(struct xdp_md *ctx, struct packet *p, struct end source,
							      struct end destination, __u64 where, enum reason reason,
							      long *action)
{
	struct uplink *uplink = hop_uplink(where);
	__u64 addresses = address_difference(p->family, &p->tuple.source, source.address) +
			  address_difference(p->family, &p->tuple.destination, destination.address);
	void *data = xdp_data(ctx), *end = xdp_end(ctx);
	void *l4 = at_offset(data, p->l4, HEADERS_MAX);

	asm volatile("" : "+r"(l4)); /* one pointer for check and use: clang would compute it twice */
	if (!uplink || !xdp_can_send(p, uplink) || p->length > uplink->mtu)
		return STEP_PASS;
	if (p->family == FAMILY_V4) {
		if (data + sizeof(struct ethhdr) + sizeof(struct iphdr) > end ||
		    !translate_transport(p, l4, end, source, destination, addresses))
			return STEP_PASS;
		translate_v4(data + sizeof(struct ethhdr), source, destination, addresses);
	} else {
		if (data + sizeof(struct ethhdr) + sizeof(struct ipv6hdr) > end ||
		    !translate_transport(p, l4, end, source, destination, addresses))
			return STEP_PASS;
		translate_v6(data + sizeof(struct ethhdr), source, destination);
	}
	write_ethernet(data, where, uplink, p->family);
	p->reason = reason;
	return xdp_send(p, uplink, action);
}

#endif
