/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a pod needs in order to have an address and neighbours at all: no policy applies to it, nor must its source be the pod's. */
#ifndef WEIR_EXEMPT_H
#define WEIR_EXEMPT_H

#include "parse.h"

enum {
	DHCP_SERVER = 67,
	DHCP_CLIENT = 68,
	DHCP6_CLIENT = 546,
	DHCP6_SERVER = 547,
	MLD_FIRST = 130, /* RFC 2710, RFC 4861: listener queries to router and neighbour discovery */
	ND_ROUTER_SOLICIT = 133,
	ND_LAST = 136,
	MLD2_REPORT = 143, /* RFC 3810 */
	ND_HOP_LIMIT = 255, /* RFC 4861 section 6.1: nothing that crossed a router */
};

static __always_inline bool is_discovery(struct __sk_buff *skb, const struct packet *p)
{
	__u8 type;

	if (p->family != FAMILY_V6 || p->tuple.protocol != IPPROTO_ICMPV6 || bpf_skb_load_bytes(skb, p->l4, &type, sizeof(type)))
		return false;
	if (type >= ND_ROUTER_SOLICIT && type <= ND_LAST)
		return p->hop_limit == ND_HOP_LIMIT;
	return (type >= MLD_FIRST && type < ND_ROUTER_SOLICIT) || type == MLD2_REPORT;
}

static __always_inline bool is_dhcp(const struct packet *p)
{
	if (p->tuple.protocol != IPPROTO_UDP)
		return false;
	if (p->family == FAMILY_V4)
		return p->tuple.source_port == bpf_htons(DHCP_CLIENT) && p->tuple.destination_port == bpf_htons(DHCP_SERVER);
	return p->tuple.source_port == bpf_htons(DHCP6_CLIENT) && p->tuple.destination_port == bpf_htons(DHCP6_SERVER);
}

static __always_inline bool is_link_local(const struct packet *p)
{
	const __u8 *b = p->tuple.source.b;

	if (p->family == FAMILY_V4)
		return b[12] == 169 && b[13] == 254;
	return b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
}

/* What answers it: addresses are handed out whatever the pod's policies are. */
static __always_inline bool is_dhcp_answer(const struct packet *p)
{
	if (p->tuple.protocol != IPPROTO_UDP)
		return false;
	if (p->family == FAMILY_V4)
		return p->tuple.source_port == bpf_htons(DHCP_SERVER) && p->tuple.destination_port == bpf_htons(DHCP_CLIENT);
	return p->tuple.source_port == bpf_htons(DHCP6_SERVER) && p->tuple.destination_port == bpf_htons(DHCP6_CLIENT);
}

/* Neighbour and listener discovery, address configuration. */
static __always_inline bool is_exempt(struct __sk_buff *skb, const struct packet *p)
{
	return is_discovery(skb, p) || (p->hook == HOOK_POD_IN ? is_dhcp(p) : is_dhcp_answer(p));
}

#endif
