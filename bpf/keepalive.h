/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The two entries of one flow live and die together: whichever passes packets renews the other, about once a second. */
#ifndef WEIR_KEEPALIVE_H
#define WEIR_KEEPALIVE_H

#include "record.h"

/* Renews the entry for replies of a forward flow; records it anew where the LRU has lost it. */
__noinline int keep_reply(struct packet *p, struct flow *flow)
{
	if (!p || !flow)
		return 0;
	struct flow6_key key = {
		.source = flow->address,
		.destination = flow->flags & FLOW_SNAT ? flow->nat : p->tuple.source,
		.source_port = flow->port,
		.destination_port = flow->nat_port,
		.protocol = p->tuple.protocol,
	};
	struct flow *back;

	if (is_direct(flow->forwarding) && !(flow->flags & FLOW_LOCAL))
		return 0; /* its replies do not pass here */
	if (flow->flags & FLOW_SNAT) {
		back = bpf_map_lookup_elem(&weir_snat, &key);
	} else {
		back = flow_find(p->family, &key);
		if (!back && record_reply(p, flow) != STEP_NEXT)
			return 0;
	}
	if (back) {
		back->seen = p->now;
		flow_settle(flow, back);
	}
	return 0;
}

/* Renews the forward entry of a flow whose reply passed. */
__noinline int keep_forward(struct packet *p, struct flow *back)
{
	if (!p || !back)
		return 0;
	struct flow6_key key;
	struct flow *flow;

	forward_key_of(&key, p, back);
	flow = flow_find(p->family, &key);
	if (flow && flow->kind == FLOW_FORWARD) {
		flow->seen = p->now;
		flow_settle(back, flow);
	}
	return 0;
}

#endif
