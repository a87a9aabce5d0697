/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Acting on an skb: rewriting addresses and ports, sending it on by the kernel's routes. Decides nothing about services. */
#ifndef WEIR_TC_H
#define WEIR_TC_H

#include "parse.h"
#include "route.h"
#include "sctp.h"

enum {
	LINEAR_BYTES = 128, /* enough for Ethernet, both IP headers of a tunnel, and TCP */
};

static __always_inline void *skb_data(const struct __sk_buff *skb)
{
	return (void *)(long)skb->data;
}

static __always_inline void *skb_end(const struct __sk_buff *skb)
{
	return (void *)(long)skb->data_end;
}

/* Makes the headers readable in place. 0, or a negative errno. */
static __always_inline long make_linear(struct __sk_buff *skb)
{
	if (skb_data(skb) + LINEAR_BYTES <= skb_end(skb))
		return 0;
	return bpf_skb_pull_data(skb, skb->len < LINEAR_BYTES ? skb->len : LINEAR_BYTES);
}

/* Reads the packet at p->l3. An skb that is shorter than the packet says was cut on its way. */
static __always_inline must_use enum parsed parse_whole(struct __sk_buff *skb, struct packet *p, __be16 ethertype)
{
	enum parsed parsed = parse_network(p, skb_data(skb), skb_end(skb), ethertype);

	return p->family && p->l3 + p->length > skb->len ? PARSED_MALFORMED : parsed;
}

/* Where the transport checksum is, 0: the protocol has none of the Internet's kind. */
static __always_inline __u32 checksum_offset(const struct packet *p)
{
	if (p->tuple.protocol == IPPROTO_TCP)
		return p->l4 + offsetof(struct tcphdr, check);
	if (p->tuple.protocol == IPPROTO_UDP)
		return p->l4 + offsetof(struct udphdr, check);
	return 0;
}

/* The same, 0 also where the sender has put none into a UDP header: it stays without. */
static __always_inline __u32 checksum_in_use(struct __sk_buff *skb, const struct packet *p)
{
	__u32 at = checksum_offset(p);
	__u16 sum = 0;

	if (p->tuple.protocol == IPPROTO_UDP && (bpf_skb_load_bytes(skb, at, &sum, sizeof(sum)) || !sum))
		return 0;
	return at;
}

/* Applies a difference of the pseudo header or of the rest to a transport checksum. */
static __always_inline long checksum_adjust(struct __sk_buff *skb, const struct packet *p, __u32 at, __s64 difference,
					    __u64 flags)
{
	if (p->tuple.protocol == IPPROTO_UDP)
		flags |= BPF_F_MARK_MANGLED_0;
	return bpf_l4_csum_replace(skb, at, 0, difference, flags);
}

/*
 * Replaces both addresses. Source and destination stand side by side in both families' headers. A device may have summed up
 * the whole packet (CHECKSUM_COMPLETE): IPv4's header checksum makes up for what changes, for IPv6 the helper must take note.
 */
static __always_inline long rewrite_addresses(struct __sk_buff *skb, struct packet *p, const struct flow6_key *to, __u32 check)
{
	if (p->family == FAMILY_V4) {
		__be32 old[2] = { ip_v4(&p->tuple.source), ip_v4(&p->tuple.destination) };
		__be32 new[2] = { ip_v4(&to->source), ip_v4(&to->destination) };
		__s64 difference = bpf_csum_diff(old, sizeof(old), new, sizeof(new), 0);

		if (check && checksum_adjust(skb, p, check, difference, BPF_F_PSEUDO_HDR))
			return -1;
		if (bpf_l3_csum_replace(skb, p->l3 + offsetof(struct iphdr, check), 0, difference, 0))
			return -1;
		return bpf_skb_store_bytes(skb, p->l3 + offsetof(struct iphdr, saddr), new, sizeof(new), 0);
	}
	if (check) {
		__s64 difference = bpf_csum_diff((__be32 *)&p->tuple.source, 2 * sizeof(struct ip), (__be32 *)&to->source,
						 2 * sizeof(struct ip), 0);

		if (checksum_adjust(skb, p, check, difference, BPF_F_PSEUDO_HDR))
			return -1;
	}
	return bpf_skb_store_bytes(skb, p->l3 + offsetof(struct ipv6hdr, saddr), &to->source, 2 * sizeof(struct ip),
				   BPF_F_RECOMPUTE_CSUM);
}

/* Makes the packet carry the addresses and ports of to. Checksums follow, whether the device or the sender completes them. */
__noinline enum step rewrite(struct __sk_buff *skb, struct packet *p, struct flow6_key *to)
{
	if (!p || !to)
		return STEP_PASS;
	bool later = p->fragment == FRAGMENT_LATER; /* has addresses alone */
	__u32 check = later ? 0 : checksum_in_use(skb, p);
	__be32 old = (__u32)p->tuple.destination_port << 16 | p->tuple.source_port;
	__be32 new = (__u32)to->destination_port << 16 | to->source_port;

	if (rewrite_addresses(skb, p, to, check))
		return drop(p, REASON_INTERNAL);
	if (old != new && !later) {
		if (check && checksum_adjust(skb, p, check, bpf_csum_diff(&old, sizeof(old), &new, sizeof(new), 0), 0))
			return drop(p, REASON_INTERNAL);
		if (bpf_skb_store_bytes(skb, p->l4, &new, sizeof(new), check ? 0 : BPF_F_RECOMPUTE_CSUM))
			return drop(p, REASON_INTERNAL);
		if (p->tuple.protocol == IPPROTO_SCTP && sctp_checksum_adjust(skb, p, old ^ new))
			return drop(p, REASON_INTERNAL);
	}
	__builtin_memcpy(&p->tuple, to, sizeof(*to));
	return STEP_NEXT;
}

static __always_inline long set_hop_limit(struct __sk_buff *skb, const struct packet *p, __u8 limit)
{
	if (p->family == FAMILY_V6)
		return bpf_skb_store_bytes(skb, p->l3 + offsetof(struct ipv6hdr, hop_limit), &limit, sizeof(limit),
					   BPF_F_RECOMPUTE_CSUM);
	/* the limit is the first byte of its 16-bit word */
	if (bpf_l3_csum_replace(skb, p->l3 + offsetof(struct iphdr, check), bpf_htons((__u16)p->hop_limit << 8),
				bpf_htons((__u16)limit << 8), 2))
		return -1;
	return bpf_skb_store_bytes(skb, p->l3 + offsetof(struct iphdr, ttl), &limit, sizeof(limit), 0);
}

/* One hop less to live, as any router does (RFC 1812 section 5.3.1). The caller has seen that it is more than 1. */
static __always_inline long decrement_hop_limit(struct __sk_buff *skb, const struct packet *p)
{
	return set_hop_limit(skb, p, p->hop_limit - 1);
}

/* Hands the packet to the device of a route that was found; the kernel resolves the neighbour. */
static __always_inline must_use enum step send_by(const struct bpf_fib_lookup *fib, long *action)
{
	struct bpf_redir_neigh next = { .nh_family = fib->family };

	__builtin_memcpy(next.ipv6_nh, fib->ipv6_dst, sizeof(next.ipv6_nh));
	*action = bpf_redirect_neigh(fib->ifindex, &next, sizeof(next), 0);
	return STEP_SENT;
}

#endif
