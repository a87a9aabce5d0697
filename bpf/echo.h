/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Answering ICMP echo for a service's address, which no device has (RFC 792, RFC 4443 section 4.2). */
#ifndef WEIR_ECHO_H
#define WEIR_ECHO_H

#include "answer.h"

/* Is this ICMP message, or the one that this is a later fragment of, an echo request? */
static __always_inline bool is_echo_request(struct __sk_buff *skb, const struct packet *p)
{
	__u8 type = 0;

	if (p->fragment == FRAGMENT_LATER)
		return true; /* nothing else among ICMP is that long */
	if (bpf_skb_load_bytes(skb, p->l4, &type, sizeof(type)))
		return false;
	return type == (p->family == FAMILY_V4 ? ICMP4_ECHO : ICMP6_ECHO);
}

/* The checksum covers the whole message, so it is right in the first fragment once it is adjusted there. */
static __always_inline long echo_turn(struct __sk_buff *skb, const struct packet *p)
{
	__u8 from = p->family == FAMILY_V4 ? ICMP4_ECHO : ICMP6_ECHO;
	__u8 to = p->family == FAMILY_V4 ? ICMP4_ECHO_REPLY : ICMP6_ECHO_REPLY;

	if (bpf_l4_csum_replace(skb, p->l4 + offsetof(struct icmp_header, check), bpf_htons((__u16)from << 8),
				bpf_htons((__u16)to << 8), 2))
		return -1;
	return bpf_skb_store_bytes(skb, p->l4, &to, sizeof(to), 0);
}

/* Turns an echo request, or a part of it, into its answer. */
__noinline enum step answer_echo(struct __sk_buff *skb, struct packet *p)
{
	if (!p)
		return STEP_PASS;
	struct flow6_key to = {
		.source = p->tuple.destination,
		.destination = p->tuple.source,
		.protocol = p->tuple.protocol,
	};

	if (p->fragment != FRAGMENT_LATER && echo_turn(skb, p))
		return drop(p, REASON_INTERNAL);
	/* the pseudo header's sum is the same in both directions */
	if (rewrite_addresses(skb, p, &to, 0) || set_hop_limit(skb, p, ANSWER_HOP_LIMIT))
		return drop(p, REASON_INTERNAL);
	p->reason = REASON_ECHO;
	return STEP_ANSWER;
}

#endif
