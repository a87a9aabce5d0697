/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Recording a new flow: its forward entry, and the entry by which replies find their way back. The forward entry is written
 * last, so that a flow that is found is complete.
 */
#ifndef WEIR_RECORD_H
#define WEIR_RECORD_H

#include "config.h"
#include "flow.h"
#include "ranges.h"
#include "route.h"
#include "select.h"

enum {
	PORT_TRIES = 16,
	RECLAIM_TRIES = 16, /* the last of SNAT_TRIES also take ports of ended flows: backends remember those for a while */
	SNAT_TRIES = 64, /* bounds what a new flow costs where the range is nearly used up */
	FLOW_IDLE_COLLIDING = 60, /* s after which another flow may take over a client's port at a backend */
};

/* Where a client is, seen from this node. */
enum origin {
	ORIGIN_OUTSIDE,
	ORIGIN_TUNNEL, /* outside; another node has sent the packet here without a choice among the pods */
	ORIGIN_POD,
};

/* Could this be a reply to a source that we have translated? */
static __always_inline bool is_snat_port(const struct packet *p)
{
	struct config *config = config_get();

	return config && (__u16)(bpf_ntohs(p->tuple.destination_port) - config->snat_first) < config->snat_count;
}

/* Fills flow->nat with the address this node uses towards its backend. False: no way there. */
static __noinline bool snat_address(void *ctx, struct packet *p, struct flow *flow)
{
	struct bpf_fib_lookup fib;
	struct uplink *uplink;
	__u32 first = 0;

	if (!route_exists(route_find(ctx, &fib, p->family, p->ifindex, &p->tuple.source, &flow->address)))
		return false;
	uplink = uplink_of(fib.ifindex);
	if (!uplink && flow->flags & FLOW_LOCAL)
		uplink = bpf_map_lookup_elem(&weir_uplinks, &first);
	if (!uplink)
		return false;
	flow->nat = p->family == FAMILY_V4 ? uplink->address4 : uplink->address6;
	return true;
}

static __always_inline void snat_key(struct flow6_key *key, const struct flow *flow, __be16 port)
{
	key->source = flow->address;
	key->source_port = flow->port;
	key->destination = flow->nat;
	key->destination_port = port;
}

/*
 * Frees a port whose flow has ended a second ago. Ended flows stay for a while, for late segments; where ports are short, a new
 * flow is worth more. Of two cores that want the same port one finds it deleted already.
 */
static __always_inline bool snat_reclaim(const struct packet *p, const struct flow *flow, struct flow6_key *key)
{
	struct flow *ended = bpf_map_lookup_elem(&weir_snat, key);
	__be16 port = key->destination_port;

	if (!ended || ended->state != FLOW_CLOSED || p->now - ended->seen < SECOND)
		return false;
	/* the forward entry's key, for a moment in the same place: the stack has no room for both */
	key->source = ended->nat;
	key->source_port = ended->nat_port;
	key->destination = ended->address;
	key->destination_port = ended->port;
	flow_forget(p->family, key, port);
	snat_key(key, flow, port);
	return bpf_map_delete_elem(&weir_snat, key) == 0;
}

/* Takes a free port of this node for the flow and records how its replies are translated back. */
__noinline enum step record_snat(struct packet *p, struct flow *flow)
{
	if (!p || !flow)
		return STEP_PASS;
	struct config *config = config_get();
	struct flow back = {
		.seen = p->now,
		.backend = flow->backend,
		.service = flow->service,
		.address = p->tuple.destination,
		.nat = p->tuple.source,
		.port = p->tuple.destination_port,
		.nat_port = p->tuple.source_port,
		.kind = FLOW_SNAT_REPLY,
		.state = flow->state,
		.forwarding = flow->forwarding,
		.flags = flow->flags,
	};
	struct flow6_key key = { .protocol = p->tuple.protocol };
	__u32 offset;

	if (!config)
		return drop(p, REASON_INTERNAL);
	/* RFC 6056 section 3.3.1: from a random port on, one after the other */
	offset = scale(bpf_get_prandom_u32(), config->snat_count);
	for (int i = 0; i < SNAT_TRIES; i++) {
		if (offset >= config->snat_count)
			offset = 0;
		snat_key(&key, flow, bpf_htons(config->snat_first + offset++));
		if (bpf_map_update_elem(&weir_snat, &key, &back, BPF_NOEXIST) == 0 ||
		    (i >= SNAT_TRIES - RECLAIM_TRIES && snat_reclaim(p, flow, &key) &&
		     bpf_map_update_elem(&weir_snat, &key, &back, BPF_NOEXIST) == 0)) {
			flow->nat_port = key.destination_port;
			return STEP_NEXT;
		}
	}
	return drop(p, REASON_SNAT_FULL);
}

/* The client is using the same port at the same backend already, through another frontend or through none. */
static __always_inline bool collides(const struct packet *p, const struct flow *other)
{
	if (!other || (other->kind != FLOW_REPLY && other->kind != FLOW_TAKEN))
		return false;
	if (other->kind == FLOW_REPLY && other->port == p->tuple.destination_port && other->nat_port == p->tuple.source_port &&
	    ip_equal(&other->address, &p->tuple.destination))
		return false; /* it is this one's own, from before */
	return other->state < FLOW_CLOSING && p->now - other->seen < FLOW_IDLE_COLLIDING * SECOND;
}

/* A source port in place of a client's own, not a privileged one. */
static __always_inline __be16 any_port(void)
{
	return bpf_htons(1024 + scale(bpf_get_prandom_u32(), 64512));
}

/* Records how the backend's replies to this client get back the frontend's address. */
__noinline enum step record_reply(struct packet *p, struct flow *flow)
{
	if (!p || !flow)
		return STEP_PASS;
	struct flow back = {
		.seen = p->now,
		.backend = flow->backend,
		.service = flow->service,
		.address = p->tuple.destination,
		.port = p->tuple.destination_port,
		.nat_port = p->tuple.source_port,
		.kind = FLOW_REPLY,
		.state = flow->state,
		.forwarding = flow->forwarding,
		.flags = flow->flags,
	};
	struct flow6_key key = {
		.source = flow->address,
		.destination = p->tuple.source,
		.source_port = flow->port,
		/* recorded anew, it keeps the port that its backend knows */
		.destination_port = flow->flags & FLOW_PORT ? flow->nat_port : p->tuple.source_port,
		.protocol = p->tuple.protocol,
	};

	for (int i = 0; i < PORT_TRIES; i++) {
		if (!collides(p, flow_find(p->family, &key))) {
			flow->nat_port = key.destination_port;
			back.flags = flow->flags;
			if (flow_record(p->family, &key, &back, BPF_ANY))
				return drop(p, REASON_FLOW_FULL);
			return STEP_NEXT;
		}
		flow->flags |= FLOW_PORT;
		key.destination_port = any_port();
	}
	return drop(p, REASON_FLOW_FULL);
}

/* Both directions can be redirected between devices that carry our programs: then the stack need not see the flow. */
static __noinline bool flow_is_fast(void *ctx, struct packet *p, struct flow *flow)
{
	struct config *config = config_get();
	struct bpf_fib_lookup fib;
	__u32 ifindex;

	if (!config || !config->fast_path)
		return false;
	if (!route_exists(route_find(ctx, &fib, p->family, p->ifindex, &p->tuple.source, &flow->address)))
		return false;
	ifindex = fib.ifindex;
	if (!bpf_map_lookup_elem(&weir_devices, &ifindex))
		return false;
	if (!route_exists(route_find(ctx, &fib, p->family, ifindex, &flow->address, &p->tuple.source)))
		return false;
	ifindex = fib.ifindex;
	return bpf_map_lookup_elem(&weir_devices, &ifindex) != NULL;
}

/* Records the flow towards the backend that is filled in. The kind of translation follows from where client and backend are. */
static __always_inline must_use enum step record_flow(void *ctx, struct packet *p, struct flow *flow, enum origin origin,
						      __u8 backend_flags)
{
	enum step step = STEP_NEXT;
	bool hairpin = ip_equal(&flow->address, &p->tuple.source);

	if (backend_flags & BACKEND_LOCAL)
		flow->flags |= FLOW_LOCAL;
	if (origin == ORIGIN_POD || flow->flags & FLOW_LOCAL) {
		if (hairpin || masqueraded(p, flow, origin == ORIGIN_POD, backend_flags)) {
			flow->flags |= FLOW_SNAT;
		} else if (!(backend_flags & BACKEND_HOST) && flow_is_fast(ctx, p, flow)) {
			flow->flags |= FLOW_FAST;
		}
	} else if (flow->forwarding == FORWARDING_NAT) {
		flow->flags |= FLOW_SNAT;
	}
	if (flow->flags & FLOW_SNAT)
		step = snat_address(ctx, p, flow) ? record_snat(p, flow) : drop(p, REASON_NO_ROUTE);
	else if (origin == ORIGIN_POD || flow->flags & FLOW_LOCAL)
		step = record_reply(p, flow);
	if (step != STEP_NEXT)
		return step;
	if (flow_record_forward(p->family, &p->tuple, flow))
		return drop(p, REASON_FLOW_FULL);
	return STEP_NEXT;
}

#endif
