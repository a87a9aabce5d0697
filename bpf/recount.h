/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counting the flows of each backend anew, in the walk that sweep.h describes: see load.h for what that corrects. */
#ifndef WEIR_RECOUNT_H
#define WEIR_RECOUNT_H

#include "load.h"

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
