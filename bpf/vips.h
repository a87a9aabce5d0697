/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is for a service's address and none of its ports, and for addresses that only services may have: it ends here and never
 * leaks to the gateway, which would send it back. Asked last: a packet for no service costs one lookup.
 */
#ifndef WEIR_VIPS_H
#define WEIR_VIPS_H

#include "config.h"
#include "echo.h"
#include "takeover.h"

/* In --service-cidr, where every address is a service's or nobody's. */
static __always_inline bool is_service_address(const struct packet *p)
{
	const __u32 *to = (const __u32 *)&p->tuple.destination;
	struct config *config = config_get();

	if (!config)
		return false;
	if (p->family == FAMILY_V4)
		return config->flags & CONFIG_SERVICE4 && (to[3] & config->service4_mask) == config->service4;
	const __u32 *mask = (const __u32 *)&config->service6_mask, *range = (const __u32 *)&config->service6;

	return config->flags & CONFIG_SERVICE6 && (((to[0] & mask[0]) ^ range[0]) | ((to[1] & mask[1]) ^ range[1]) |
						   ((to[2] & mask[2]) ^ range[2]) | ((to[3] & mask[3]) ^ range[3])) == 0;
}

/* A packet that no frontend and no flow wanted. STEP_PASS where its address is no service's either. */
__noinline enum step to_vip(struct __sk_buff *skb, struct packet *p)
{
	if (!p || is_leaving())
		return STEP_PASS;
	struct ip destination = p->tuple.destination;
	bool known = bpf_map_lookup_elem(&weir_vips, &destination) != NULL;
	enum reason reason = known ? REASON_UNKNOWN_PORT : REASON_UNALLOCATED;

	if (!known && !is_service_address(p))
		return STEP_PASS;
	if (p->fragment == FRAGMENT_LOST)
		return drop(p, REASON_FRAGMENT);
	if (has_ports(p->tuple.protocol))
		return refusal(p, reason);
	if (!is_icmp(p) || !is_echo_request(skb, p))
		return drop(p, reason);
	return known ? answer_echo(skb, p) : refusal(p, reason);
}

#endif
