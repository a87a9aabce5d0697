/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The table of admitted flows: find, renew, expire. An entry says which end began the flow, and at which epoch of policy each
 * end, where it is a pod of this node, was judged. Each end writes its own words alone.
 */
#ifndef WEIR_ADMITTED_H
#define WEIR_ADMITTED_H

#include "flow.h"

enum {
	/* seconds; RFC 5382 section 5, RFC 4787 section 4.3 */
	ADMITTED_IDLE_TCP = 7440,
	ADMITTED_IDLE = 300,
};

static __always_inline bool ip_lower(const struct ip *a, const struct ip *b)
{
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;

	for (int i = 0; i < 4; i++)
		if (x[i] != y[i])
			return bpf_ntohl(x[i]) < bpf_ntohl(y[i]);
	return false;
}

/* The key that both directions share. True where the packet comes from the lower address. */
static __always_inline bool admitted_key(struct flow6_key *key, const struct flow6_key *tuple)
{
	if (ip_lower(&tuple->source, &tuple->destination)) {
		__builtin_memcpy(key, tuple, sizeof(*key));
		return true;
	}
	tuple_reverse(key, tuple);
	return false;
}

static __always_inline bool admitted_expired(__u64 now, __u8 protocol, const struct admitted *entry)
{
	return now > entry->seen && now - entry->seen > (protocol == IPPROTO_TCP ? ADMITTED_IDLE_TCP : ADMITTED_IDLE) * SECOND;
}

static __always_inline struct admitted *admitted_find(__u8 family, __u64 now, const struct flow6_key *key)
{
	struct admitted *entry;

	if (family == FAMILY_V4) {
		struct flow4_key narrow;

		flow4_key_of(&narrow, key);
		entry = bpf_map_lookup_elem(&weir_admitted4, &narrow);
	} else {
		entry = bpf_map_lookup_elem(&weir_admitted6, key);
	}
	return entry && !admitted_expired(now, key->protocol, entry) ? entry : NULL;
}

/* 0, or a negative errno. */
static __always_inline int admitted_record(__u8 family, const struct flow6_key *key, const struct admitted *entry)
{
	if (family == FAMILY_V4) {
		struct flow4_key narrow;

		flow4_key_of(&narrow, key);
		return bpf_map_update_elem(&weir_admitted4, &narrow, entry, BPF_ANY);
	}
	return bpf_map_update_elem(&weir_admitted6, key, entry, BPF_ANY);
}

static __always_inline void admitted_touch(__u64 now, struct admitted *entry)
{
	if (now - entry->seen >= SECOND)
		entry->seen = now;
}

#endif
