/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Services at TC, the same for every device: from a frontend to a backend at ingress, and the reversal at egress of the device
 * that faces the client (ingress only for flows whose source this node has translated). docs/architecture.md draws both.
 */
#ifndef WEIR_SERVICE_H
#define WEIR_SERVICE_H

#include "begin.h"
#include "frontend.h"
#include "deny.h"
#include "keepalive.h"
#include "l2.h"
#include "reply.h"
#include "segment.h"
#include "takeover.h"
#include "tunnel.h"
#include "vips.h"

/* Finds the way of the packet that to describes, rewrites and sends it. The packet is untouched unless it is sent. */
__noinline enum step send_translated(struct __sk_buff *skb, struct packet *p, struct flow6_key *to, enum reason reason,
				     long *action)
{
	if (!p || !to || !action)
		return STEP_PASS;
	struct bpf_fib_lookup fib;
	enum step step;
	long route;

	if (p->hop_limit <= 1)
		return STEP_PASS;
	route = route_find(skb, &fib, p->family, p->ifindex, &to->source, &to->destination);
	if (route == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		p->mtu = fib.mtu_result;
		return STEP_TOO_BIG;
	}
	if (!route_usable(route))
		return drop(p, REASON_NO_ROUTE);
	step = rewrite(skb, p, to);
	if (step != STEP_NEXT)
		return step;
	if (decrement_hop_limit(skb, p))
		return drop(p, REASON_INTERNAL);
	p->reason = reason;
	return send_by(&fib, action);
}

/* The packet of a known flow, on its way from the client. */
__noinline enum step forward(struct __sk_buff *skb, struct packet *p, struct flow *flow, long *action)
{
	if (!p || !flow || !action)
		return STEP_PASS;
	struct flow6_key to = {
		.source = p->tuple.source,
		.destination = flow->address,
		.source_port = p->tuple.source_port,
		.destination_port = flow->port,
		.protocol = p->tuple.protocol,
	};
	enum reason reason = p->reason ? p->reason : REASON_FORWARDED_NAT;
	enum step step;

	if (is_direct(flow->forwarding) && !(flow->flags & FLOW_LOCAL))
		return STEP_DIRECT;
	if (flow->flags & FLOW_SNAT) {
		to.source = flow->nat;
		to.source_port = flow->nat_port;
	} else if (flow->flags & FLOW_PORT) {
		to.source_port = flow->nat_port;
	}
	if (flow->flags & (FLOW_SNAT | FLOW_FAST))
		return send_translated(skb, p, &to, reason, action);
	step = rewrite(skb, p, &to);
	if (step != STEP_NEXT)
		return step;
	p->reason = reason;
	return STEP_PASS;
}

/* Is this known flow one that the packet goes on with? Its entry is renewed on the way. */
static __always_inline bool flow_continues(struct packet *p, struct flow *flow)
{
	if (!flow || flow->kind != FLOW_FORWARD || flow_restarts(p, flow))
		return false;
	p->backend = flow->backend;
	if (flow_touch(p, flow))
		keep_reply(p, flow);
	return true;
}

/* Is the packet, which goes on with no flow of ours, the other dataplane's? known: the entry that it has, or NULL. */
static __always_inline bool left_to_another(const struct packet *p, struct flow *known)
{
	if (!is_anothers(p, known))
		return false;
	/* the client uses the port of a flow that has ended again: what follows is no more of that one */
	if (known && known->kind == FLOW_FORWARD && flow_restarts(p, known))
		flow_forget(p->family, &p->tuple, known->nat_port);
	return true;
}

/* A packet to one of our frontends: STEP_FORWARD with its flow. STEP_NEXT where it is to none. */
static __noinline enum step to_frontend(struct __sk_buff *skb, struct packet *p, enum origin origin, struct flow *flow)
{
	struct frontend *frontend = frontend_find(p);
	struct flow *known;
	enum step step;

	if (!frontend)
		return STEP_NEXT;
	known = flow_find(p->family, &p->tuple);
	if (flow_continues(p, known)) {
		*flow = *known;
		return STEP_FORWARD;
	}
	if (left_to_another(p, known))
		return STEP_PASS;
	if (!source_admitted(p, frontend))
		return drop(p, REASON_SOURCE_RANGE);
	if (!selection_of(frontend, origin)->size)
		return frontend->flags & FRONTEND_EXISTS && !is_midway(p) ? drop(p, REASON_NO_LOCAL_ENDPOINT)
									  : refusal(p, REASON_NO_ENDPOINT);
	step = flow_begin(skb, p, frontend, flow, origin);
	p->fresh = step == STEP_NEXT;
	return step == STEP_NEXT ? STEP_FORWARD : step;
}

/* A reply to a port of this node that stands for a client. */
static __noinline enum step from_snat(struct __sk_buff *skb, struct packet *p, long *action)
{
	struct flow6_key to = { .protocol = p->tuple.protocol };
	struct flow *back;

	if (!is_snat_port(p))
		return STEP_NEXT;
	back = bpf_map_lookup_elem(&weir_snat, &p->tuple);
	if (!back)
		return STEP_NEXT;
	to.source = back->address;
	to.source_port = back->port;
	to.destination = back->nat;
	to.destination_port = back->nat_port;
	p->backend = back->backend;
	if (flow_touch(p, back))
		keep_forward(p, back);
	return send_translated(skb, p, &to, REASON_REPLY, action);
}

/* A reply, at ingress, of a flow that is redirected both ways: on to the client's device, where it gets its frontend back. */
static __always_inline must_use enum step reply_shortcut(struct __sk_buff *skb, struct packet *p, struct flow *back, long *action)
{
	struct bpf_fib_lookup fib;

	if (!(back->flags & FLOW_FAST) || p->hop_limit <= 1)
		return STEP_NEXT;
	if (!route_usable(route_find(skb, &fib, p->family, p->ifindex, &p->tuple.source, &p->tuple.destination)))
		return STEP_NEXT;
	if (decrement_hop_limit(skb, p))
		return drop(p, REASON_INTERNAL);
	return send_by(&fib, action);
}

/* Is the frontend of the flow its backend? Flows of a frontend that is no more are not. */
static __always_inline bool is_beside(const struct packet *p, const struct flow *flow)
{
	return flow->kind == FLOW_FORWARD && flow->port == p->tuple.destination_port &&
	       ip_equal(&flow->address, &p->tuple.destination);
}

/* A packet that is to no frontend: a reply that does not go through the node's stack, or of a client beside its frontend. */
static __noinline enum step of_flow(struct __sk_buff *skb, struct packet *p, struct flow *flow, long *action)
{
	struct flow *known = flow_find(p->family, &p->tuple);

	if (known && is_beside(p, known) && flow_continues(p, known)) {
		*flow = *known;
		return STEP_FORWARD;
	}
	known = reply_of(p, known);
	if (known)
		return reply_shortcut(skb, p, known, action);
	return begins(p) && !is_leaving() ? begin_beside(p, flow) : STEP_NEXT;
}

/* A packet to no frontend, where it enters the node. STEP_FORWARD with its flow. */
static __always_inline must_use enum step beside_frontends(struct __sk_buff *skb, struct packet *p, struct flow *flow,
							   long *action)
{
	enum step step = from_snat(skb, p, action);

	return step == STEP_NEXT ? of_flow(skb, p, flow, action) : step;
}

/* Carries out what the stages decided. */
static __always_inline must_use enum step carry_out(struct __sk_buff *skb, struct packet *p, enum step step, struct flow *flow,
						    long *action)
{
	if (step == STEP_NEXT)
		step = to_vip(skb, p);
	if (step == STEP_FORWARD)
		step = forward(skb, p, flow, action);
	if (step == STEP_DIRECT && flow->forwarding == FORWARDING_DSR_L2)
		step = send_l2(skb, p, flow, action);
	else if (step == STEP_DIRECT)
		step = send_tunnelled(skb, p, flow, action);
	if (step == STEP_REFUSE)
		step = refuse(skb, p);
	if (step == STEP_REJECT)
		step = reject(skb, p);
	if (step == STEP_TOO_BIG)
		step = answer_too_big(skb, p);
	if (step == STEP_ANSWER)
		step = send_answer(skb, p, action);
	return step;
}

/* Where a packet leaves towards a client: a backend's reply becomes the frontend's. */
static __noinline enum step service_egress(struct __sk_buff *skb, struct packet *p)
{
	struct flow *back = reply_of(p, flow_find(p->family, &p->tuple));
	struct flow6_key to = {
		.destination = p->tuple.destination,
		.destination_port = p->tuple.destination_port,
		.protocol = p->tuple.protocol,
	};
	enum step step;

	if (!back)
		return STEP_PASS;
	to.source = back->address;
	to.source_port = back->port;
	if (back->flags & FLOW_PORT)
		to.destination_port = back->nat_port;
	p->backend = back->backend;
	if (flow_touch(p, back))
		keep_forward(p, back);
	if (back->forwarding == FORWARDING_DSR && is_tcp(p) && p->tcp_flags & TCP_SYN) {
		step = clamp_segment_size(skb, p);
		if (step != STEP_NEXT)
			return step;
	}
	step = rewrite(skb, p, &to);
	if (step != STEP_NEXT)
		return step;
	p->reason = REASON_REPLY;
	return STEP_PASS;
}

#endif
