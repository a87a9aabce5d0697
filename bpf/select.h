/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which backend a new flow goes to. Reads the frontend's selection; records nothing (record.h does). */
#ifndef WEIR_SELECT_H
#define WEIR_SELECT_H

#include "maps.h"
#include "packet.h"

static __always_inline __u32 rotate_left(__u32 x, int bits)
{
	return x << bits | x >> (32 - bits);
}

/* Bob Jenkins' lookup3 mix and final, as in the kernel's jhash.h. */
#define HASH_SEED 0x57656972 /* the same on every node, so that all choose alike */

struct hash {
	__u32 a, b, c;
};

static __always_inline void hash_mix(struct hash *h)
{
	h->a -= h->c, h->a ^= rotate_left(h->c, 4), h->c += h->b;
	h->b -= h->a, h->b ^= rotate_left(h->a, 6), h->a += h->c;
	h->c -= h->b, h->c ^= rotate_left(h->b, 8), h->b += h->a;
	h->a -= h->c, h->a ^= rotate_left(h->c, 16), h->c += h->b;
	h->b -= h->a, h->b ^= rotate_left(h->a, 19), h->a += h->c;
	h->c -= h->b, h->c ^= rotate_left(h->b, 4), h->b += h->a;
}

static __always_inline __u32 hash_final(struct hash *h)
{
	h->c ^= h->b, h->c -= rotate_left(h->b, 14);
	h->a ^= h->c, h->a -= rotate_left(h->c, 11);
	h->b ^= h->a, h->b -= rotate_left(h->a, 25);
	h->c ^= h->b, h->c -= rotate_left(h->b, 16);
	h->a ^= h->c, h->a -= rotate_left(h->c, 4);
	h->b ^= h->a, h->b -= rotate_left(h->a, 14);
	h->c ^= h->b, h->c -= rotate_left(h->b, 24);
	return h->c;
}

/* Does the packet alone tell the backend, on every node alike? */
static __always_inline bool is_hashed(__u8 scheduler)
{
	return scheduler == SCHEDULER_MAGLEV || scheduler == SCHEDULER_SH || scheduler == SCHEDULER_DH;
}

/* Over one address alone. */
static __always_inline __u32 address_hash(__u8 family, const struct ip *address)
{
	const __u32 *w = (const __u32 *)address;
	struct hash h = { HASH_SEED, HASH_SEED, HASH_SEED };

	if (family == FAMILY_V6) {
		h.a += w[0], h.b += w[1], h.c += w[2];
		hash_mix(&h);
	}
	h.a += w[3];
	return hash_final(&h);
}

/* Over the whole tuple, or all of it but this source port. */
static __always_inline __u32 flow_hash(__u8 family, const struct flow6_key *t, __be16 source_port)
{
	const __u32 *s = (const __u32 *)&t->source, *d = (const __u32 *)&t->destination;
	__u32 ports = (__u32)source_port << 16 | t->destination_port;
	struct hash h = { HASH_SEED, HASH_SEED, HASH_SEED + t->protocol };

	if (family == FAMILY_V6) {
		h.a += s[0], h.b += s[1], h.c += s[2];
		hash_mix(&h);
		h.a += d[0], h.b += d[1], h.c += d[2];
		hash_mix(&h);
	}
	h.a += s[3], h.b += d[3], h.c += ports;
	return hash_final(&h);
}

static __always_inline __u32 *slots_at(__u32 chunk)
{
	__u32 segment = chunk / WEIR_CHUNKS_PER_SEGMENT, index = chunk % WEIR_CHUNKS_PER_SEGMENT;
	void *slots = bpf_map_lookup_elem(&weir_slots, &segment);

	return slots ? bpf_map_lookup_elem(slots, &index) : NULL;
}

static __always_inline __u32 slot_read(const struct selection *from, __u32 word)
{
	__u32 *slots = slots_at(from->chunk + word / WEIR_SLOTS_PER_CHUNK);

	return slots ? slots[word % WEIR_SLOTS_PER_CHUNK] : 0;
}

/* x * size / 2^32: spreads a 32-bit number over size slots without a division. */
static __always_inline __u32 scale(__u32 x, __u32 size)
{
	return (__u64)x * size >> 32;
}

static __always_inline __u32 select_hashed(const struct packet *p, const struct frontend *frontend, const struct selection *from)
{
	const struct flow6_key *t = &p->tuple;
	__u32 hash;

	if (frontend->scheduler == SCHEDULER_SH)
		hash = address_hash(p->family, &t->source);
	else if (frontend->scheduler == SCHEDULER_DH)
		hash = address_hash(p->family, &t->destination);
	else /* without the port all flows of a client go the same way, recorded or not */
		hash = flow_hash(p->family, t, frontend->affinity ? 0 : t->source_port);
	return slot_read(from, scale(hash, from->size));
}

static __always_inline __u32 select_rotating(const struct selection *from)
{
	__u32 *counter = slots_at(from->chunk);

	if (!counter || !from->size)
		return 0;
	return slot_read(from, 1 + __sync_fetch_and_add(counter, 1) % from->size);
}

struct least {
	__u32 chunk, size;
	__u32 first; /* the place to look at first */
	__u32 found; /* the place of the best so far, and what it is */
	__u32 backend, weight, flows;
};

static long least_step(__u32 i, struct least *l)
{
	/* told by i, which no verifier claims to know: a place that is carried on is followed round by round, until Linux 6.12 gives up */
	__u32 place = i < l->size - l->first ? l->first + i : i - (l->size - l->first);
	__u32 word = 2 + 2 * place;
	__u32 *pair = slots_at(l->chunk + word / WEIR_SLOTS_PER_CHUNK);
	struct load *load;
	__u32 flows, weight;

	if (!pair)
		return 0;
	pair += word % WEIR_SLOTS_PER_CHUNK & ~1u;
	load = bpf_map_lookup_elem(&weir_loads, pair);
	weight = pair[1];
	if (!load)
		return 0;
	flows = (__s32)load->flows < 0 ? 0 : load->flows;
	if ((__u64)flows * l->weight >= (__u64)l->flows * weight)
		return 0;
	l->backend = pair[0];
	l->weight = weight;
	l->flows = flows;
	l->found = place;
	return 0;
}

/*
 * The one with the fewest live flows for its weight; of several the next after the last choice. The first is compared like any other:
 * before Linux 6.7 the verifier looks at the first round of a loop alone, and a question that has one answer there is not asked again.
 */
static __noinline __u32 select_least(const struct selection *from)
{
	__u32 *next = slots_at(from->chunk);
	struct least l = { .chunk = from->chunk, .size = from->size, .weight = 1, .flows = ~0u };

	if (!next || !l.size)
		return 0;
	l.first = *next < l.size ? *next : 0;
	bpf_loop(l.size, least_step, &l, 0);
	*next = l.found + 1;
	return l.backend;
}

/* The id of the backend for a new flow by a scheduler that does not hash, 0 where the tables hold none. */
static __always_inline __u32 select_backend(__u8 scheduler, const struct selection *from)
{
	if (scheduler == SCHEDULER_LC)
		return select_least(from);
	if (scheduler == SCHEDULER_RR)
		return select_rotating(from);
	return slot_read(from, 1 + scale(bpf_get_prandom_u32(), from->size));
}

#endif
