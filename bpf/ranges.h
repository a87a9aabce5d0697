/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whom a source belongs to: the ranges that a load balancer service admits, and the cluster's own addresses. */
#ifndef WEIR_RANGES_H
#define WEIR_RANGES_H

#include "config.h"
#include "flow.h"

enum {
	RANGE_BITS = 160, /* owner and a whole address */
	RANGE_CLUSTER = 0, /* owner of the cluster's ranges */
};

static __always_inline bool in_range(__u32 owner, const struct ip *address)
{
	struct range_key key = { .bits = RANGE_BITS, .owner = owner, .address = *address };

	return bpf_map_lookup_elem(&weir_ranges, &key) != NULL;
}

/*
 * Is the source of a flow that needs it for nothing else replaced? By --masquerade-all, and for a pod device's client that is
 * none of the cluster's: the other node would not know the way back. Not towards this node's own processes, which answer past
 * our programs.
 */
static __noinline bool masqueraded(struct packet *p, struct flow *flow, bool pod, __u8 backend_flags)
{
	struct config *config = config_get();

	if (flow->forwarding != FORWARDING_NAT || !config)
		return false;
	if (flow->flags & FLOW_LOCAL)
		return config->flags & CONFIG_MASQUERADE_ALL && !(backend_flags & BACKEND_HOST);
	return config->flags & CONFIG_MASQUERADE_ALL || (pod && !in_range(RANGE_CLUSTER, &p->tuple.source));
}

/* May this source open flows to the frontend? */
static __always_inline bool source_admitted(const struct packet *p, const struct frontend *frontend)
{
	return !(frontend->flags & FRONTEND_RANGES) || in_range(frontend->service, &p->tuple.source);
}

#endif
