/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow tables: find, record, keep alive. What a flow leads to is decided in select.h. */
#ifndef WEIR_FLOW_H
#define WEIR_FLOW_H

#include <linux/errno.h>
#include "load.h"
#include "maps.h"
#include "packet.h"
#include "settings.h"

static __always_inline void flow4_key_of(struct flow4_key *key, const struct flow6_key *tuple)
{
	key->source = ip_v4(&tuple->source);
	key->destination = ip_v4(&tuple->destination);
	key->source_port = tuple->source_port;
	key->destination_port = tuple->destination_port;
	key->protocol = tuple->protocol;
	key->pad[0] = key->pad[1] = key->pad[2] = 0;
}

static __always_inline struct flow *flow_find(__u8 family, const struct flow6_key *tuple)
{
	if (family == FAMILY_V4) {
		struct flow4_key key;

		flow4_key_of(&key, tuple);
		return bpf_map_lookup_elem(&weir_flows4, &key);
	}
	return bpf_map_lookup_elem(&weir_flows6, tuple);
}

/*
 * how: BPF_ANY or BPF_NOEXIST. 0, or a negative errno. An int: before Linux 6.4 ("bpf: return long from bpf_map_ops funcs") nobody
 * extends the sign of what a map's own function returns.
 */
static __always_inline must_use int flow_record(__u8 family, const struct flow6_key *tuple, const struct flow *flow, __u64 how)
{
	if (family == FAMILY_V4) {
		struct flow4_key key;

		flow4_key_of(&key, tuple);
		return bpf_map_update_elem(&weir_flows4, &key, flow, how);
	}
	return bpf_map_update_elem(&weir_flows6, tuple, flow, how);
}

static __always_inline int flow_delete(__u8 family, const struct flow6_key *tuple)
{
	if (family == FAMILY_V4) {
		struct flow4_key key;

		flow4_key_of(&key, tuple);
		return bpf_map_delete_elem(&weir_flows4, &key);
	}
	return bpf_map_delete_elem(&weir_flows6, tuple);
}

/* Records a forward entry, which counts as a flow of its backend; one that it replaces counts no more. 0, or a negative errno. */
static __always_inline must_use int flow_record_forward(__u8 family, const struct flow6_key *tuple, const struct flow *flow)
{
	int failed;

	load_change(flow->backend, LOAD_ANNOUNCE);
	failed = flow_record(family, tuple, flow, BPF_NOEXIST);
	if (failed == -EEXIST) {
		struct flow *old = flow_find(family, tuple);

		if (old)
			flow_enter(old, FLOW_CLOSED);
		failed = flow_record(family, tuple, flow, BPF_ANY);
	}
	if (!failed && is_live(flow))
		load_change(flow->backend, LOAD_MORE);
	return failed;
}

/* Forgets a flow that has this translated port: the client may have used its own again since, for a flow with another. */
static __always_inline void flow_forget(__u8 family, const struct flow6_key *tuple, __be16 nat_port)
{
	struct flow *flow = flow_find(family, tuple);

	if (!flow || flow->nat_port != nat_port)
		return;
	if (is_live(flow))
		load_change(flow->backend, LOAD_LESS);
	flow_delete(family, tuple);
}

/* The key of the forward entry that belongs to the entry of a reply. */
static __always_inline void forward_key_of(struct flow6_key *key, const struct packet *p, const struct flow *back)
{
	key->source = back->kind == FLOW_SNAT_REPLY ? back->nat : p->tuple.destination;
	key->destination = back->address;
	key->source_port = back->nat_port;
	key->destination_port = back->port;
	key->protocol = p->tuple.protocol;
	key->pad[0] = key->pad[1] = key->pad[2] = 0;
}

/* Does a backend elsewhere get the client's packets as they are, and answer the client itself? */
static __always_inline bool is_direct(__u8 forwarding)
{
	return forwarding != FORWARDING_NAT;
}

static __always_inline __u8 flow_first_state(const struct packet *p)
{
	if (is_tcp(p) && p->tcp_flags & (TCP_FIN | TCP_RST))
		return FLOW_CLOSING;
	return is_tcp(p) && !(p->tcp_flags & TCP_SYN) ? FLOW_ESTABLISHED : FLOW_NEW;
}

/*
 * Notes that a packet of the flow passed. Written only when something changes or a second has gone by, so that a busy flow
 * does not bounce its cache line between cores; two cores writing at once lose nothing that the next packet does not renew.
 * Returns true about once a second, and when the flow ends: then the entries that belong to the same flow are worth a look.
 */
static __always_inline bool flow_touch(const struct packet *p, struct flow *flow)
{
	bool ends = false;

	if (is_tcp(p)) {
		if (p->tcp_flags & (TCP_FIN | TCP_RST)) {
			__u8 state = p->tcp_flags & TCP_RST ? FLOW_CLOSED : FLOW_CLOSING;

			ends = flow->state < state;
			if (ends)
				flow_enter(flow, state);
		} else if (flow->state == FLOW_NEW && !(p->tcp_flags & TCP_SYN)) {
			flow->state = FLOW_ESTABLISHED;
		}
	} else if (flow->state == FLOW_NEW && flow->seen != p->now) {
		flow->state = FLOW_ESTABLISHED;
	}
	if (!ends && p->now - flow->seen < SECOND)
		return false;
	flow->seen = p->now;
	return true;
}

/* Two entries of one flow: once both directions have ended, or one was reset, the flow has. */
static __always_inline void flow_settle(struct flow *a, struct flow *b)
{
	if (a->state == FLOW_CLOSED || (a->state == FLOW_CLOSING && b->state == FLOW_CLOSING)) {
		flow_enter(a, FLOW_CLOSED);
		flow_enter(b, FLOW_CLOSED);
	}
}

/* A SYN on a flow that was closing begins a new one (the client reuses its port). */
static __always_inline bool flow_restarts(const struct packet *p, const struct flow *flow)
{
	return begins(p) && flow->state >= FLOW_CLOSING;
}

#endif
