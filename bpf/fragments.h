/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragments: only the first carries ports, so they are remembered for the rest (RFC 791 section 3.2, RFC 8200 section 4.5). Each
 * hook asks for itself, because addresses differ from hook to hook.
 */
#ifndef WEIR_FRAGMENTS_H
#define WEIR_FRAGMENTS_H

#include "maps.h"
#include "parse.h"

/* Takes what parsing a fragment has given (enum parsed) and returns what it is now that the first one has been asked. */
__noinline __u32 recall_ports(struct packet *p, __u32 parsed)
{
	if (!p)
		return parsed;
	struct fragment_key key = {
		.source = p->tuple.source,
		.destination = p->tuple.destination,
		.id = p->fragment_id,
		.protocol = p->family == FAMILY_V4 ? p->tuple.protocol : 0,
	};
	struct fragment_ports *first;

	p->fragment_id = 0; /* its place is the backend's from now on */
	if (p->fragment == FRAGMENT_FIRST) {
		struct fragment_ports ports = {
			.source_port = p->tuple.source_port,
			.destination_port = p->tuple.destination_port,
			.protocol = p->tuple.protocol,
		};

		if (parsed == PARSED_PORTS || parsed == PARSED_ICMP)
			bpf_map_update_elem(&weir_fragments, &key, &ports, BPF_ANY);
		return parsed;
	}
	first = bpf_map_lookup_elem(&weir_fragments, &key);
	if (!first) {
		p->fragment = FRAGMENT_LOST;
		return parsed;
	}
	p->tuple.source_port = first->source_port;
	p->tuple.destination_port = first->destination_port;
	p->tuple.protocol = first->protocol;
	return is_icmp(p) ? PARSED_ICMP : PARSED_PORTS;
}

#endif
