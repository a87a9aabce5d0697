/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Expiry: one walk over the flow tables, in the kernel, started by the agent. Without the agent the LRU tables look after
 * themselves. An idle time is counted from the last packet of either direction.
 */
#ifndef WEIR_SWEEP_H
#define WEIR_SWEEP_H

#include "flow.h"
#include "recount.h"

enum {
	/* seconds; TCP's follow RFC 5382 section 5 (2 h 4 min established, 4 min opening or closing), UDP's RFC 4787 section 4.3 */
	IDLE_TCP_ESTABLISHED = 7440,
	IDLE_TCP_TRANSITORY = 240,
	IDLE_CLOSED = 10, /* late segments still find their way */
	IDLE_UDP_ESTABLISHED = 300,
	IDLE_UDP_NEW = 60,
};

struct sweep {
	__u64 now; /* kernel ticks */
	__u64 time; /* ns of CLOCK_MONOTONIC at the same moment */
	__u64 kept;
	__u64 removed;
	__u64 kept4; /* of those kept, in weir_flows4 */
	__u64 kept6;
};

static __always_inline __u64 idle_limit(__u8 protocol, const struct flow *flow)
{
	if (flow->state == FLOW_CLOSED)
		return IDLE_CLOSED;
	if (protocol == IPPROTO_UDP)
		return flow->state == FLOW_ESTABLISHED ? IDLE_UDP_ESTABLISHED : IDLE_UDP_NEW;
	return flow->state == FLOW_ESTABLISHED ? IDLE_TCP_ESTABLISHED : IDLE_TCP_TRANSITORY;
}

/* A flow ends when it was idle too long or its backend is gone for good; UDP already when its backend takes nothing new. */
static __always_inline bool flow_ended(const struct sweep *sweep, __u8 protocol, const struct flow *flow)
{
	__u32 id = flow->backend;
	struct backend *backend = bpf_map_lookup_elem(&weir_backends, &id);

	if (!backend || (protocol == IPPROTO_UDP && backend->state != BACKEND_ACTIVE))
		return true;
	return sweep->now > flow->seen && sweep->now - flow->seen > idle_limit(protocol, flow) * SECOND;
}

/* Counts the entry, and what it is to its backend; true where it is to be deleted. */
static __always_inline bool sweep_out(struct sweep *sweep, __u8 protocol, struct flow *flow)
{
	bool ended = flow_ended(sweep, protocol, flow);

	if (ended) {
		flow_enter(flow, FLOW_CLOSED);
		sweep->removed++;
	} else {
		recount(flow);
		sweep->kept++;
	}
	return ended;
}

static long sweep_flow4(void *map, struct flow4_key *key, struct flow *flow, struct sweep *sweep)
{
	if (sweep_out(sweep, key->protocol, flow))
		bpf_map_delete_elem(&weir_flows4, key);
	return 0;
}

static long sweep_flow6(void *map, struct flow6_key *key, struct flow *flow, struct sweep *sweep)
{
	if (sweep_out(sweep, key->protocol, flow))
		bpf_map_delete_elem(&weir_flows6, key);
	return 0;
}

static long sweep_snat(void *map, struct flow6_key *key, struct flow *flow, struct sweep *sweep)
{
	if (sweep_out(sweep, key->protocol, flow))
		bpf_map_delete_elem(&weir_snat, key);
	return 0;
}

/* Affinity to a backend that is gone for good ends: its number may come to mean another. */
static long sweep_affinity(void *map, struct affinity_key *key, struct affinity *affinity, struct sweep *sweep)
{
	__u32 id = affinity->backend;

	if (!bpf_map_lookup_elem(&weir_backends, &id))
		bpf_map_delete_elem(&weir_affinity, key);
	return 0;
}

#endif
