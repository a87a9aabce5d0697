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

static __always_inline __u32 flow_hash(__u8 family, const struct flow6_key *t)
{
	const __u32 *s = (const __u32 *)&t->source, *d = (const __u32 *)&t->destination;
	__u32 ports = (__u32)t->source_port << 16 | t->destination_port;
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

static __always_inline __u32 select_rotating(const struct selection *from)
{
	__u32 *counter = slots_at(from->chunk);

	if (!counter || !from->size)
		return 0;
	return slot_read(from, 1 + __sync_fetch_and_add(counter, 1) % from->size);
}

/* The id of the backend for a new flow, 0 where the tables hold none. */
static __always_inline __u32 select_backend(const struct packet *p, __u8 scheduler, const struct selection *from)
{
	switch (scheduler) {
	case SCHEDULER_RR:
		return select_rotating(from);
	case SCHEDULER_RANDOM:
		return slot_read(from, 1 + scale(bpf_get_prandom_u32(), from->size));
	default:
		return slot_read(from, scale(flow_hash(p->family, &p->tuple), from->size));
	}
}

#endif
