/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The segment size that a TCP end offers: found among the options of its SYN, and lowered where a tunnel has to fit around it. */
#ifndef WEIR_SEGMENT_H
#define WEIR_SEGMENT_H

#include "tunnel.h"

/* RFC 9293 section 3.1 */
enum tcp_option {
	OPTION_END = 0,
	OPTION_NOTHING = 1,
	OPTION_SEGMENT_SIZE = 2,
	OPTIONS_MAX = 40, /* bytes of options that a header can hold */
	OPTIONS_MASK = 63,
};

struct option_search {
	__u8 options[OPTIONS_MASK + 5];
	__u32 at;
	__u32 length;
	__u32 found; /* offset of the segment size within the options + 1, 0: none */
	__be16 size;
	__u16 pad;
};

/* One option further; 1 ends the search. A loop of its own: unrolled into paths, 40 of them exceed what a kernel checks. */
static long search_option(__u32 index, struct option_search *search)
{
	const __u8 *option = at_offset(search->options, search->at, OPTIONS_MASK);

	if (search->at + 4 > search->length || option[0] == OPTION_END)
		return 1;
	if (option[0] == OPTION_SEGMENT_SIZE && option[1] == 4) {
		search->size = (__be16)(option[3] << 8 | option[2]);
		search->found = search->at + 2 + 1;
		return 1;
	}
	search->at += option[0] == OPTION_NOTHING || option[1] < 2 ? 1 : option[1];
	return 0;
}

/* Where the segment size stands in a TCP header's options, from the start of the frame; 0: nowhere. */
static __always_inline __u32 find_segment_size(struct __sk_buff *skb, const struct packet *p, __be16 *size)
{
	struct option_search search = {};
	__u8 offset = 0;
	__u32 begin = p->l4 + sizeof(struct tcphdr);

	if (bpf_skb_load_bytes(skb, p->l4 + 12, &offset, 1))
		return 0;
	search.length = (offset >> 4) * 4 - sizeof(struct tcphdr);
	if (search.length < 4 || search.length > OPTIONS_MAX || bpf_skb_load_bytes(skb, begin, search.options, search.length))
		return 0;
	bpf_loop(OPTIONS_MAX, search_option, &search, 0);
	*size = search.size;
	/* asked again after the loop: before Linux 6.7 a loop keeps what was decided in its first round, where the end is never reached */
	return search.found && search.found < search.length ? begin + search.found - 1 : 0;
}

static __always_inline __u16 swap_bytes(__u16 x)
{
	return x << 8 | x >> 8;
}

/* Lowers the segment size that a DSR backend offers, so that the client's packets fit into the tunnel (RFC 9293 section 3.7.1). */
static __noinline enum step clamp_segment_size(struct __sk_buff *skb, struct packet *p)
{
	struct uplink *uplink = uplink_of(p->ifindex);
	__be16 offered = 0, fits;
	__u32 where = find_segment_size(skb, p, &offered), limit;
	bool odd;

	if (!uplink || !where)
		return STEP_NEXT;
	limit = uplink->mtu - 2 * tunnel_overhead(p->family) - sizeof(struct tcphdr);
	if (bpf_ntohs(offered) <= limit)
		return STEP_NEXT;
	fits = bpf_htons(limit);
	odd = (where - p->l4) & 1; /* a sum over an odd position is the byte-swapped one */
	if (bpf_l4_csum_replace(skb, checksum_offset(p), odd ? swap_bytes(offered) : offered, odd ? swap_bytes(fits) : fits,
				sizeof(fits)) ||
	    bpf_skb_store_bytes(skb, where, &fits, sizeof(fits), 0))
		return drop(p, REASON_INTERNAL);
	return STEP_NEXT;
}

#endif
