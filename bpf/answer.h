/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets that Weir itself sends back at TC in place of one it ends: TCP RST, ICMP unreachable and too big. They carry
 * WEIR_MARK. 
 */
#ifndef WEIR_ANSWER_H
#define WEIR_ANSWER_H

#include "tc.h"

enum {
	ANSWER_HOP_LIMIT = 64,
	QUOTE_MIN = 28, /* bytes of the offending packet that are quoted: the shortest is IPv4 and UDP */
	QUOTE_MAX = 128,
};

/*
 * Is the transport checksum still to be completed by a device (CHECKSUM_PARTIAL)? Not readable from BPF, but a difference
 * outside the pseudo header is applied to a complete checksum only. The probe is undone.
 */
static __always_inline bool checksum_is_partial(struct __sk_buff *skb, __u32 at)
{
	__u16 before = 0, after = 0;

	if (bpf_skb_load_bytes(skb, at, &before, sizeof(before)) ||
	    bpf_l4_csum_replace(skb, at, 0, bpf_htons(1), sizeof(before)) || bpf_skb_load_bytes(skb, at, &after, sizeof(after)))
		return false;
	if (before == after)
		return true;
	bpf_skb_store_bytes(skb, at, &before, sizeof(before), 0);
	return false;
}

static __always_inline long swap_ethernet(struct __sk_buff *skb, const struct packet *p)
{
	__u8 macs[2 * ETH_ALEN], swapped[2 * ETH_ALEN];

	if (p->l3 == 0)
		return 0;
	if (bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)))
		return -1;
	__builtin_memcpy(swapped, macs + ETH_ALEN, ETH_ALEN);
	__builtin_memcpy(swapped + ETH_ALEN, macs, ETH_ALEN);
	return bpf_skb_store_bytes(skb, 0, swapped, sizeof(swapped), 0);
}

/* Sends what the packet has become: by the device that it came from, or by the route to whom it is an answer to. */
static __noinline enum step send_answer(struct __sk_buff *skb, struct packet *p, long *action)
{
	struct bpf_fib_lookup fib;

	skb->mark = WEIR_MARK;
	if (p->elsewhere) {
		if (!route_usable(route_find(skb, &fib, p->family, p->ifindex, &p->tuple.destination, &p->tuple.source)))
			return drop(p, REASON_NO_ROUTE);
		return send_by(&fib, action);
	}
	if (swap_ethernet(skb, p))
		return drop(p, REASON_INTERNAL);
	/* on the way into a pod the answer goes as if that pod had sent it */
	*action = bpf_redirect(p->ifindex, p->hook == HOOK_POD_OUT ? BPF_F_INGRESS : 0);
	return STEP_SENT;
}

static __always_inline __u16 ipv4_checksum(struct iphdr *ip)
{
	return ~fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
}

/* A network header from the packet's destination to its source. Returns its length. */
static __always_inline __u32 answer_header(const struct packet *p, __u8 *to, __u8 protocol, __u32 payload)
{
	if (p->family == FAMILY_V4) {
		struct iphdr *ip = (struct iphdr *)to;

		__builtin_memset(ip, 0, sizeof(*ip));
		ip->version = 4;
		ip->ihl = 5;
		ip->tot_len = bpf_htons(sizeof(*ip) + payload);
		ip->frag_off = bpf_htons(IP_DONT_FRAGMENT);
		ip->ttl = ANSWER_HOP_LIMIT;
		ip->protocol = protocol;
		ip->saddr = ip_v4(&p->tuple.destination);
		ip->daddr = ip_v4(&p->tuple.source);
		ip->check = ipv4_checksum(ip);
		return sizeof(*ip);
	}
	struct ipv6hdr *ip = (struct ipv6hdr *)to;

	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->payload_len = bpf_htons(payload);
	ip->nexthdr = protocol;
	ip->hop_limit = ANSWER_HOP_LIMIT;
	__builtin_memcpy(&ip->saddr, &p->tuple.destination, sizeof(struct ip));
	__builtin_memcpy(&ip->daddr, &p->tuple.source, sizeof(struct ip));
	return sizeof(*ip);
}

/* Unfolded sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1); it is the same in both directions. */
static __always_inline __u64 pseudo_sum(const struct packet *p, __u8 protocol, __u32 length)
{
	__be32 tail[2] = { bpf_htonl(length), bpf_htonl(protocol) };
	__s64 sum = bpf_csum_diff(NULL, 0, tail, sizeof(tail), 0);

	if (p->family == FAMILY_V6)
		return bpf_csum_diff(NULL, 0, (__be32 *)&p->tuple.source, 2 * sizeof(struct ip), sum);
	__be32 ends[2] = { ip_v4(&p->tuple.source), ip_v4(&p->tuple.destination) };

	return bpf_csum_diff(NULL, 0, ends, sizeof(ends), sum);
}

/* RFC 9293 section 3.10.7.1: what a closed port answers. */
static __always_inline void reset_of(const struct packet *p, const struct tcphdr *in, struct tcphdr *out)
{
	__u32 used = p->length - (p->l4 - p->l3) - in->doff * 4 + in->syn + in->fin;

	__builtin_memset(out, 0, sizeof(*out));
	out->source = in->dest;
	out->dest = in->source;
	out->doff = sizeof(*out) / 4;
	out->rst = 1;
	if (in->ack) {
		out->seq = in->ack_seq;
	} else {
		out->ack = 1;
		out->ack_seq = bpf_htonl(bpf_ntohl(in->seq) + used);
	}
}

/* Turns a TCP segment into the reset that answers it, for p's reason. */
__noinline enum step answer_reset(struct __sk_buff *skb, struct packet *p)
{
	if (!p)
		return STEP_PASS;
	struct tcphdr in, out;
	__u8 header[sizeof(struct ipv6hdr)];
	__u32 bare = p->family == FAMILY_V4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u64 sum;

	/* a reset is not answered by another; a network header with options would have to be rebuilt: silence is allowed */
	if (p->tcp_flags & TCP_RST || p->l4 - p->l3 != bare || bpf_skb_load_bytes(skb, p->l4, &in, sizeof(in)))
		return drop(p, p->reason);
	reset_of(p, &in, &out);
	sum = pseudo_sum(p, IPPROTO_TCP, sizeof(out));
	if (checksum_is_partial(skb, checksum_offset(p)))
		out.check = fold(sum); /* the device completes it */
	else
		out.check = ~fold(bpf_csum_diff(NULL, 0, (__be32 *)&out, sizeof(out), sum));
	if (bpf_skb_change_tail(skb, p->l4 + sizeof(out), 0))
		return drop(p, REASON_INTERNAL);
	answer_header(p, header, IPPROTO_TCP, sizeof(out));
	if (p->family == FAMILY_V4 ? bpf_skb_store_bytes(skb, p->l3, header, sizeof(struct iphdr), BPF_F_RECOMPUTE_CSUM)
				   : bpf_skb_store_bytes(skb, p->l3, header, sizeof(struct ipv6hdr), BPF_F_RECOMPUTE_CSUM))
		return drop(p, REASON_INTERNAL);
	if (bpf_skb_store_bytes(skb, p->l4, &out, sizeof(out), BPF_F_RECOMPUTE_CSUM))
		return drop(p, REASON_INTERNAL);
	return STEP_ANSWER;
}

/*
 * How much of the packet is quoted: its headers, with as much of the transport header as holds its checksum. A packet that was
 * itself quoted to us may have less.
 */
static __always_inline __u32 quote_length(struct __sk_buff *skb, const struct packet *p)
{
	bool whole = is_tcp(p) && p->l4 + sizeof(struct tcphdr) <= skb->len;

	return p->l4 - p->l3 + (whole ? sizeof(struct tcphdr) : sizeof(struct udphdr));
}

/*
 * Unfolded sum of the quote. If the transport checksum is still partial, the device will complete it inside the quote, after
 * us: the sum is taken with the value that it will write, which is the complement of the sum of the quoted transport header.
 */
static __always_inline __s64 quote_sum(struct __sk_buff *skb, const struct packet *p, __u32 length)
{
	__u8 quote[QUOTE_MAX] = {};
	__u32 check = checksum_offset(p), transport = length - (p->l4 - p->l3), words;
	__u16 stored = 0;
	__s64 sum;

	if (length < QUOTE_MIN || length > QUOTE_MAX || bpf_skb_load_bytes(skb, p->l3, quote, length))
		return -1;
	words = (length + 3) & ~3U;
	if (words < QUOTE_MIN || words > QUOTE_MAX)
		return -1;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)quote, words, 0);
	if (!check || !checksum_is_partial(skb, check))
		return sum;
	__builtin_memset(quote, 0, sizeof(quote));
	if (transport < sizeof(struct udphdr) || transport > sizeof(struct tcphdr) ||
	    bpf_skb_load_bytes(skb, p->l4, quote, transport) || bpf_skb_load_bytes(skb, check, &stored, sizeof(stored)))
		return -1;
	__u16 completed = ~fold(bpf_csum_diff(NULL, 0, (__be32 *)quote, sizeof(struct tcphdr), 0));

	return sum + (__u16)~stored + completed;
}

/* Turns the packet into an ICMP error about itself. reason is what gets counted. */
__noinline enum step answer_icmp(struct __sk_buff *skb, struct packet *p, struct icmp_header *icmp, enum reason reason)
{
	if (!p || !icmp)
		return STEP_PASS;
	__u8 header[sizeof(struct ipv6hdr)];
	__u32 quote = quote_length(skb, p), grow;
	__s64 sum = quote_sum(skb, p, quote);

	if (sum < 0)
		return drop(p, reason);
	if (p->family == FAMILY_V6)
		sum += fold(pseudo_sum(p, IPPROTO_ICMPV6, sizeof(*icmp) + quote));
	icmp->check = ~fold(bpf_csum_diff(NULL, 0, (__be32 *)icmp, sizeof(*icmp), fold(sum)));
	if (bpf_skb_change_tail(skb, p->l3 + quote, 0))
		return drop(p, reason);
	grow = sizeof(*icmp) + (p->family == FAMILY_V4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	if (bpf_skb_adjust_room(skb, grow, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_NO_CSUM_RESET))
		return drop(p, REASON_INTERNAL);
	if (p->family == FAMILY_V4) {
		answer_header(p, header, IPPROTO_ICMP, sizeof(*icmp) + quote);
		if (bpf_skb_store_bytes(skb, p->l3, header, sizeof(struct iphdr), BPF_F_RECOMPUTE_CSUM) ||
		    bpf_skb_store_bytes(skb, p->l3 + sizeof(struct iphdr), icmp, sizeof(*icmp), BPF_F_RECOMPUTE_CSUM))
			return drop(p, REASON_INTERNAL);
	} else {
		answer_header(p, header, IPPROTO_ICMPV6, sizeof(*icmp) + quote);
		if (bpf_skb_store_bytes(skb, p->l3, header, sizeof(struct ipv6hdr), BPF_F_RECOMPUTE_CSUM) ||
		    bpf_skb_store_bytes(skb, p->l3 + sizeof(struct ipv6hdr), icmp, sizeof(*icmp), BPF_F_RECOMPUTE_CSUM))
			return drop(p, REASON_INTERNAL);
	}
	p->reason = reason;
	return STEP_ANSWER;
}

/* RFC 1191 section 4, RFC 4443 section 3.2: the frontend tells the client which size fits. */
static __noinline enum step answer_too_big(struct __sk_buff *skb, struct packet *p)
{
	struct icmp_header icmp = { .type = ICMP4_UNREACHABLE, .code = ICMP4_TOO_BIG, .rest = bpf_htonl(p->mtu) };

	if (p->fragment == FRAGMENT_LATER)
		return drop(p, REASON_TOO_BIG); /* the first was answered: RFC 1122 section 3.2.2 */
	if (p->family == FAMILY_V6) {
		icmp.type = ICMP6_TOO_BIG;
		icmp.code = 0;
		icmp.rest = bpf_htonl(p->mtu);
	}
	return answer_icmp(skb, p, &icmp, REASON_TOO_BIG);
}

/*
 * Tells the client at once that nobody serves here: TCP by RST, echo by host unreachable, the rest by port unreachable. The
 * reason is p's.
 */
static __noinline enum step refuse(struct __sk_buff *skb, struct packet *p)
{
	struct icmp_header icmp = { .type = ICMP4_UNREACHABLE, .code = is_icmp(p) ? ICMP4_HOST : ICMP4_PORT };

	if (p->fragment == FRAGMENT_LATER)
		return drop(p, p->reason);
	if (is_tcp(p))
		return answer_reset(skb, p);
	if (p->family == FAMILY_V6) {
		icmp.type = ICMP6_UNREACHABLE;
		icmp.code = is_icmp(p) ? ICMP6_ADDRESS : ICMP6_PORT;
	}
	return answer_icmp(skb, p, &icmp, p->reason);
}

#endif
