/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The first packet of a flow: its backend is chosen, and the flow recorded, unless new flows come too fast and its hash carries it. */
#ifndef WEIR_BEGIN_H
#define WEIR_BEGIN_H

#include "affinity.h"
#include "record.h"

/* Above the agent's rate of new flows on this core. */
static __always_inline bool flooded(const struct packet *p)
{
	struct config *config = config_get();
	__u32 zero = 0;
	struct rate *rate = bpf_map_lookup_elem(&weir_rate, &zero);

	if (!config || !rate || !config->flood_rate)
		return false;
	if (p->now - rate->since >= SECOND) {
		rate->since = p->now;
		rate->flows = 0;
	}
	return ++rate->flows > config->flood_rate;
}

/* Has this second's allowance been used up? Counts nothing. */
static __always_inline bool flooding(const struct packet *p)
{
	struct config *config = config_get();
	__u32 zero = 0;
	struct rate *rate = bpf_map_lookup_elem(&weir_rate, &zero);

	return config && rate && config->flood_rate && rate->flows > config->flood_rate && p->now - rate->since < SECOND;
}

/* Fills in a new flow towards a backend. */
static __always_inline void flow_towards(const struct packet *p, struct flow *flow, __u32 service, __u32 id,
					 const struct backend *backend)
{
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->seen = p->now;
	flow->backend = id;
	flow->service = service;
	flow->address = backend->address;
	flow->port = backend->port;
	flow->kind = FLOW_FORWARD;
	flow->state = flow_first_state(p);
}

/* Among whom a client who is there may choose. */
static __always_inline const struct selection *selection_of(const struct frontend *frontend, enum origin origin)
{
	if (origin == ORIGIN_POD)
		return &frontend->inside;
	return origin == ORIGIN_TUNNEL ? &frontend->tunnelled : &frontend->outside;
}

/* A flow that is known to nobody: choose its backend and record it. */
static __noinline enum step flow_begin(void *ctx, struct packet *p, struct frontend *frontend, struct flow *flow,
				       enum origin origin)
{
	const struct selection *from = selection_of(frontend, origin);
	bool hashes = is_hashed(frontend->scheduler);
	__u32 hashed = hashes ? select_hashed(p, frontend, from) : 0;
	__u32 id = frontend->affinity ? affinity_find(p, frontend, from) : 0;
	struct backend *backend;
	enum step step;

	if (!id)
		id = hashes ? hashed : select_backend(frontend->scheduler, from);
	backend = bpf_map_lookup_elem(&weir_backends, &id);
	if (!backend)
		return drop(p, REASON_INTERNAL);
	p->backend = id;
	flow_towards(p, flow, frontend->service, id, backend);
	flow->forwarding = origin == ORIGIN_POD ? FORWARDING_NAT : frontend->forwarding;
	if (is_direct(flow->forwarding) && id == hashed && !(backend->flags & BACKEND_LOCAL) && flooded(p)) {
		p->reason = REASON_UNRECORDED;
		return STEP_NEXT;
	}
	step = record_flow(ctx, p, flow, origin, backend->flags);
	if (step == STEP_NEXT && frontend->affinity)
		affinity_keep(p, frontend->service, id);
	return step;
}

/* The same for a flow whose backend, on this node, another node has chosen. */
static __noinline enum step flow_begin_at(void *ctx, struct packet *p, struct frontend *frontend, __u32 id, struct flow *flow)
{
	struct backend *backend = bpf_map_lookup_elem(&weir_backends, &id);

	if (!backend)
		return drop(p, REASON_INTERNAL);
	p->backend = id;
	flow_towards(p, flow, frontend->service, id, backend);
	flow->forwarding = FORWARDING_DSR;
	return record_flow(ctx, p, flow, ORIGIN_OUTSIDE, backend->flags | BACKEND_LOCAL);
}

/*
 * A SYN from the client to a backend itself, from a port that it is using there through a frontend. The backend could not tell the
 * two connections apart, so that this one becomes a flow as well, with another port; its frontend is the backend.
 */
static __noinline enum step begin_beside(struct packet *p, struct flow *flow)
{
	struct flow6_key key;
	struct backend *backend;
	struct flow *other;
	__u32 id;

	tuple_reverse(&key, &p->tuple);
	other = flow_find(p->family, &key);
	if (!other || other->kind != FLOW_REPLY || other->state >= FLOW_CLOSING)
		return STEP_NEXT;
	id = other->backend;
	backend = bpf_map_lookup_elem(&weir_backends, &id);
	if (!backend)
		return STEP_NEXT;
	flow_towards(p, flow, other->service, id, backend);
	flow->address = p->tuple.destination;
	flow->port = p->tuple.destination_port;
	flow->forwarding = FORWARDING_NAT;
	flow->flags = FLOW_PORT;
	flow->nat_port = any_port();
	if (backend->flags & BACKEND_LOCAL)
		flow->flags |= FLOW_LOCAL;
	p->backend = id;
	if (record_reply(p, flow) != STEP_NEXT || flow_record_forward(p->family, &p->tuple, flow))
		return drop(p, REASON_FLOW_FULL);
	return STEP_FORWARD;
}

#endif
