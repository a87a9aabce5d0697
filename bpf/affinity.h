/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Session affinity: a client that comes again gets the backend that it had, if that still takes new flows. */
#ifndef WEIR_AFFINITY_H
#define WEIR_AFFINITY_H

#include "select.h"
#include "settings.h"

#define MEMBERS_MAX_BITS 20 /* 2^20 ids fill a segment of the arena */

/* Words of a selection before the ids of its members. */
static __always_inline __u32 members_at(__u8 scheduler, __u32 size)
{
	if (is_hashed(scheduler))
		return size;
	return scheduler == SCHEDULER_LC ? 2 + 2 * size : 1 + size;
}

struct search {
	__u32 chunk, first; /* of the selection, and where its members begin */
	__u32 low, high; /* what is left of them */
	__u32 backend;
	bool found;
};

static long search_step(__u32 i, struct search *s)
{
	__u32 middle = s->low + (s->high - s->low) / 2, word = s->first + middle;
	__u32 *slots = slots_at(s->chunk + word / WEIR_SLOTS_PER_CHUNK), id;

	if (s->low >= s->high || !slots)
		return 1;
	id = slots[word % WEIR_SLOTS_PER_CHUNK];
	if (id < s->backend)
		s->low = middle + 1;
	else
		s->high = middle;
	s->found = id == s->backend;
	return s->found;
}

/* Is the backend one of the selection's? They are in ascending order. */
static __always_inline bool is_member(__u8 scheduler, const struct selection *from, __u32 backend)
{
	struct search s = {
		.chunk = from->chunk,
		.first = members_at(scheduler, from->size),
		.high = from->backends,
		.backend = backend,
	};

	bpf_loop(MEMBERS_MAX_BITS + 1, search_step, &s, 0);
	return s.found;
}

/* The backend that the packet's client keeps, 0: none. */
static __noinline __u32 affinity_find(const struct packet *p, const struct frontend *frontend, const struct selection *from)
{
	struct affinity_key key = { .client = p->tuple.source, .service = frontend->service };
	struct affinity *known = bpf_map_lookup_elem(&weir_affinity, &key);

	if (!known || p->now - known->seen >= frontend->affinity * SECOND)
		return 0;
	return is_member(frontend->scheduler, from, known->backend) ? known->backend : 0;
}

/* A new flow of the client was recorded: from now on counts its time. */
static __noinline void affinity_keep(const struct packet *p, __u32 service, __u32 backend)
{
	struct affinity_key key = { .client = p->tuple.source, .service = service };
	struct affinity now = { .seen = p->now, .backend = backend };
	struct affinity *known = bpf_map_lookup_elem(&weir_affinity, &key);

	if (known && known->backend == backend)
		known->seen = p->now;
	else
		bpf_map_update_elem(&weir_affinity, &key, &now, BPF_ANY);
}

#endif
