/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What another node has sent here through a tunnel. One that names a pod has chosen that pod (BPF); one that names this node has
 * chosen the node alone (IPVS), and gets a pod of it: never one of another node, whose IPVS might send the packet back.
 */
#ifndef WEIR_TUNNELLED_H
#define WEIR_TUNNELLED_H

#include "fragments.h"
#include "icmp.h"
#include "service.h"

struct tunnel_end {
	struct ip address;
	bool is_pod;
};

static __always_inline bool is_tunnelled(const struct packet *p)
{
	return p->fragment == FRAGMENT_NONE && p->tuple.protocol == (p->family == FAMILY_V4 ? PROTOCOL_IPIP : PROTOCOL_IP6IP6);
}

static __always_inline bool tunnel_source_known(const struct packet *p)
{
	struct prefix_key key = { .bits = 128, .address = p->tuple.source };

	return bpf_map_lookup_elem(&weir_sources, &key) != NULL;
}

/* What is inside a tunnel: it is of the same family as the outer header. */
static __always_inline __be16 inner_ethertype(const struct packet *p)
{
	return bpf_htons(p->family == FAMILY_V4 ? ETH_P_IP : ETH_P_IPV6);
}

/* Removes the outer header and reads the packet inside. */
static __noinline enum parsed unwrap(struct __sk_buff *skb, struct packet *p)
{
	__be16 ethertype = inner_ethertype(p);

	if (bpf_skb_adjust_room(skb, -(__s32)(p->l4 - p->l3), BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return PARSED_MALFORMED;
	if (make_linear(skb))
		return PARSED_MALFORMED;
	return parse_whole(skb, p, ethertype);
}

/* Node ports are served on every node's address; what comes from another node through a tunnel names that node's. */
static __always_inline struct frontend *frontend_of_any_node(const struct packet *p)
{
	struct prefix_key node = { .bits = 128, .address = p->tuple.destination };

	return bpf_map_lookup_elem(&weir_sources, &node) ? frontend_of_node_port(p) : NULL;
}

static __always_inline struct frontend *frontend_tunnelled(const struct packet *p)
{
	struct frontend *frontend = frontend_find(p);

	if (!frontend)
		frontend = frontend_of_any_node(p);
	return frontend && frontend->forwarding == FORWARDING_DSR ? frontend : NULL;
}

static __always_inline struct local_backend *local_find(const struct frontend *frontend, const struct ip *endpoint)
{
	struct local_key key = { .service = frontend->service, .address = *endpoint };

	return bpf_map_lookup_elem(&weir_local, &key);
}

static __always_inline bool is_served_here(const struct flow *flow)
{
	return flow->kind == FLOW_FORWARD && flow->flags & FLOW_LOCAL;
}

/* Is the packet inside a tunnel one that we serve? An ICMP error is, about a flow of a backend here. */
static __noinline bool is_served(struct __sk_buff *skb, struct packet *inner)
{
	struct quote q = {};
	struct flow6_key answered;
	struct flow *known;

	if (is_icmp(inner)) {
		if (!quote_read(skb, inner, &q))
			return false;
		tuple_reverse(&answered, &q.tuple);
		known = flow_find(inner->family, &answered);
		return known && is_served_here(known);
	}
	if (!frontend_tunnelled(inner))
		return false;
	known = flow_find(inner->family, &inner->tuple);
	return (known && is_served_here(known) && !flow_restarts(inner, known)) || !left_to_another(inner, known);
}

/* The same of a tunnel that is still closed. */
static __noinline bool carries_ours(struct __sk_buff *skb, struct packet *p)
{
	struct packet inner = { .now = p->now };
	enum parsed parsed =
		parse_network(&inner, at_offset(skb_data(skb), p->l4, HEADERS_MAX), skb_end(skb), inner_ethertype(p));

	inner.l4 += p->l4; /* from the start of the frame, as everywhere */
	if (inner.fragment)
		parsed = recall_ports(&inner, parsed);
	return (parsed == PARSED_PORTS || parsed == PARSED_ICMP) && is_served(skb, &inner);
}

/* Is the packet for this node itself? */
static __noinline bool ends_here(struct __sk_buff *skb, struct packet *p)
{
	struct bpf_fib_lookup fib;

	return route_find(skb, &fib, p->family, p->ifindex, &p->tuple.source, &p->tuple.destination) ==
	       BPF_FIB_LKUP_RET_NOT_FWDED;
}

/* Removes the outer header and reads the packet inside. STEP_NEXT: it can be served. */
static __always_inline enum step unwrap_whole(struct __sk_buff *skb, struct packet *p)
{
	enum parsed parsed = unwrap(skb, p);
	enum step step;

	if (p->fragment)
		parsed = recall_ports(p, parsed);
	if (parsed == PARSED_PORTS || parsed == PARSED_ICMP)
		return STEP_NEXT;
	step = unreadable(p, parsed);
	if (step != STEP_PASS)
		return step;
	return drop(p, p->fragment == FRAGMENT_LOST ? REASON_FRAGMENT : REASON_DSR_FRONTEND);
}

/* To the endpoint that the other node has chosen, if that backs the frontend; to any of this node where it has chosen none. */
static __noinline enum step to_endpoint(struct __sk_buff *skb, struct packet *p, struct tunnel_end *end, struct flow *flow)
{
	struct frontend *frontend = frontend_tunnelled(p);
	struct local_backend *local = frontend ? local_find(frontend, &end->address) : NULL;
	struct flow *known;
	enum step step;

	if (!frontend || !(local || (!end->is_pod && frontend->tunnelled.size)))
		return drop(p, REASON_DSR_FRONTEND);
	p->reason = REASON_DECAPSULATED;
	known = flow_find(p->family, &p->tuple);
	if (known && (!local || ip_equal(&known->address, &end->address)) && is_served_here(known) && flow_continues(p, known)) {
		*flow = *known;
		return STEP_FORWARD;
	}
	if (!source_admitted(p, frontend))
		return drop(p, REASON_SOURCE_RANGE);
	step = local ? flow_begin_at(skb, p, frontend, local->backend, flow) : flow_begin(skb, p, frontend, flow, ORIGIN_TUNNEL);
	return step == STEP_NEXT ? STEP_FORWARD : step;
}

/*
 * A tunnelled packet. On STEP_NEXT it is the one that was inside. Left alone are tunnels that lead elsewhere, those of an overlay
 * that end at the node, and what is the other dataplane's while that serves this node too: it opens tunnels itself.
 */
static __noinline enum step receive_tunnelled(struct __sk_buff *skb, struct packet *p, struct tunnel_end *end)
{
	struct endpoint *known = bpf_map_lookup_elem(&weir_endpoints, &p->tuple.destination);

	end->address = p->tuple.destination;
	end->is_pod = known && !(known->flags & BACKEND_HOST);
	if (!tunnel_source_known(p))
		return end->is_pod ? drop(p, REASON_DSR_SOURCE) : STEP_PASS;
	if (!end->is_pod && !ends_here(skb, p))
		return STEP_PASS;
	if (!(end->is_pod && is_alone()) && !carries_ours(skb, p))
		return STEP_PASS;
	return unwrap_whole(skb, p);
}

#endif
