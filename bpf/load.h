/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How many live flows each backend has. Counted one by one as flows begin and end. What the LRU tables evict is not seen: the sweep
 * counts anew. Every change is announced before it and counted with it, so that a recount knows by how much it may be wrong.
 */
#ifndef WEIR_LOAD_H
#define WEIR_LOAD_H

#include "maps.h"
#include "packet.h"

/* Of flows (the lower half) and changes (the upper) in one word. */
#define LOAD_ANNOUNCE (1ULL << 32)
#define LOAD_MORE (LOAD_ANNOUNCE + 1)
#define LOAD_LESS (LOAD_ANNOUNCE - 1) /* a flow less: its carry is the change */

static __always_inline bool is_live(const struct flow *flow)
{
	return flow->kind == FLOW_FORWARD && flow->state < FLOW_CLOSING;
}

static __always_inline void load_change(__u32 backend, __u64 by)
{
	struct load *load = bpf_map_lookup_elem(&weir_loads, &backend);

	if (load)
		__sync_fetch_and_add((__u64 *)load, by);
}

/* A flow goes on to another state; one that was live and is closing counts no more. */
static __always_inline void flow_enter(struct flow *flow, __u8 state)
{
	bool ends = is_live(flow) && state >= FLOW_CLOSING;

	if (ends)
		load_change(flow->backend, LOAD_ANNOUNCE);
	flow->state = state;
	if (ends)
		load_change(flow->backend, LOAD_LESS);
}

#endif
