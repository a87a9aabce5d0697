/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Expiry of admitted flows, in the walk that sweep.h describes. */
#ifndef WEIR_EXPIRE_H
#define WEIR_EXPIRE_H

#include "admitted.h"

/* now in kernel ticks */
static long expire_admitted4(void *map, struct flow4_key *key, struct admitted *entry, __u64 *now)
{
	if (admitted_expired(*now, key->protocol, entry))
		bpf_map_delete_elem(&weir_admitted4, key);
	return 0;
}

static long expire_admitted6(void *map, struct flow6_key *key, struct admitted *entry, __u64 *now)
{
	if (admitted_expired(*now, key->protocol, entry))
		bpf_map_delete_elem(&weir_admitted6, key);
	return 0;
}

#endif
