/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counting what was done, and remembering what was dropped. The one funnel through which every ended packet goes. */
#ifndef WEIR_COUNT_H
#define WEIR_COUNT_H

#include "maps.h"
#include "packet.h"

static __always_inline void count(__u32 reason, __u32 bytes)
{
	struct counter *c = bpf_map_lookup_elem(&weir_counters, &reason);

	if (!c)
		return;
	c->packets++;
	c->bytes += bytes;
}

static __always_inline void count_traffic(const struct packet *p)
{
	__u32 id = p->backend;
	struct traffic *t = bpf_map_lookup_elem(&weir_traffic, &id);

	if (!t)
		return;
	if (p->reason == REASON_REPLY) {
		t->reply_packets++;
		t->reply_bytes += p->length;
	} else {
		t->packets++;
		t->bytes += p->length;
	}
}

/* By policy, which says what decided. */
static __always_inline bool is_denied(const struct packet *p)
{
	return p->reason == REASON_POLICY_INGRESS || p->reason == REASON_POLICY_EGRESS;
}

static __noinline void remember_drop(struct packet *p, __u8 reason, __u32 rule)
{
	struct drop_key key = {
		.source = p->tuple.source,
		.destination = p->tuple.destination,
		.port = p->tuple.destination_port,
		.protocol = p->tuple.protocol,
		.reason = reason,
		.hook = p->hook,
	};
	struct drop *seen = bpf_map_lookup_elem(&weir_drops, &key);

	if (seen) {
		seen->count++;
		seen->last = bpf_ktime_get_ns();
		seen->rule = rule;
		return;
	}
	struct drop first = { .count = 1, .first = bpf_ktime_get_ns(), .ifindex = p->ifindex, .rule = rule };

	first.last = first.first;
	bpf_map_update_elem(&weir_drops, &key, &first, BPF_ANY);
}

/* Called once a packet, by the entry points. */
static __always_inline void account(struct packet *p, enum step step)
{
	if (p->reason)
		count(p->reason, p->length);
	if (p->backend && p->reason >= REASON_FORWARDED_NAT)
		count_traffic(p);
	if (step == STEP_DROP || (p->reason && p->reason < REASON_FORWARDED_NAT))
		remember_drop(p, p->reason, is_denied(p) ? p->rule : 0); /* refused and answered packets ended here as well */
}

#endif
