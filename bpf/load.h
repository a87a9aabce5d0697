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

/* A recount begins: every backend's. */
static long recount_begin(void *map, __u32 *id, struct load *load, void *unused)
{
	load->changes_before = load->changes;
	load->counted = 0;
	return 0;
}

static __always_inline void recount(const struct flow *flow)
{
	__u32 id = flow->backend;
	struct load *load = bpf_map_lookup_elem(&weir_loads, &id);

	if (load && is_live(flow))
		load->counted++;
}

/*
 * What was counted is right but for what has changed since: the load moves only as far as it is certainly wrong. Where nothing has
 * changed that is all the way. A change at this very moment leaves it to the next recount.
 */
static long recount_end(void *map, __u32 *id, struct load *load, void *unused)
{
	__u64 *word = (__u64 *)load;
	__u64 old = *(volatile __u64 *)word;
	__s64 changes = (__u32)(old >> 32) - load->changes_before;
	__s64 flows = (__s32)old, least = load->counted - changes, most = load->counted + changes;

	if (least < 0)
		least = 0;
	if (flows < least)
		flows = least;
	else if (flows > most)
		flows = most;
	else
		return 0;
	__sync_val_compare_and_swap(word, old, (old >> 32) << 32 | (__u32)flows);
	return 0;
}

#endif
