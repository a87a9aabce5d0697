/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which frontend an address is. */
#ifndef WEIR_FRONTEND_H
#define WEIR_FRONTEND_H

#include "maps.h"
#include "packet.h"

static __always_inline struct frontend *frontend_find(const struct packet *p)
{
	struct frontend_key key = {
		.address = p->tuple.destination,
		.port = p->tuple.destination_port,
		.protocol = p->tuple.protocol,
	};

	return bpf_map_lookup_elem(&weir_frontends, &key);
}

/* A node port has one more entry in each family, under no address, for addresses that cannot each have their own. */
static __always_inline struct frontend *frontend_of_node_port(const struct packet *p)
{
	struct frontend_key key = { .port = p->tuple.destination_port, .protocol = p->tuple.protocol };

	if (p->family == FAMILY_V4)
		ip_set_v4(&key.address, 0);
	return bpf_map_lookup_elem(&weir_frontends, &key);
}

#endif
