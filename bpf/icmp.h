/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP errors about balanced flows. The packet that an error quotes tells the flow; the error's own addresses and the quoted
 * ones are translated as that packet was, in the other direction, so that backend and client each see what they sent
 * (RFC 5508 section 4 asks the same of any NAT). Errors about other traffic pass untouched.
 */
#ifndef WEIR_ICMP_H
#define WEIR_ICMP_H

#include "quote.h"
#include "service.h"

static __always_inline long quote_rewrite_v4(struct __sk_buff *skb, const struct packet *p, const struct quote *q,
					     const struct flow6_key *to)
{
	__be32 old[2] = { ip_v4(&q->tuple.source), ip_v4(&q->tuple.destination) };
	__be32 new[2] = { ip_v4(&to->source), ip_v4(&to->destination) };
	__s64 difference = bpf_csum_diff(old, sizeof(old), new, sizeof(new), 0);

	/* header and checksum change by opposite amounts: the ICMP checksum over them stays */
	if (bpf_l3_csum_replace(skb, q->l3 + offsetof(struct iphdr, check), 0, difference, 0))
		return -1;
	return bpf_skb_store_bytes(skb, q->l3 + offsetof(struct iphdr, saddr), new, sizeof(new), 0);
}

static __always_inline long quote_rewrite_v6(struct __sk_buff *skb, const struct packet *p, const struct quote *q,
					     const struct flow6_key *to)
{
	__s64 difference =
		bpf_csum_diff((__be32 *)&q->tuple.source, 2 * sizeof(struct ip), (__be32 *)&to->source, 2 * sizeof(struct ip), 0);

	if (bpf_l4_csum_replace(skb, p->l4 + offsetof(struct icmp_header, check), 0, difference, 0))
		return -1;
	return bpf_skb_store_bytes(skb, q->l3 + offsetof(struct ipv6hdr, saddr), &to->source, 2 * sizeof(struct ip), 0);
}

/* Makes the quoted packet that of to. Its own transport checksum is left as it was: nobody verifies a cut packet. */
static __noinline enum step quote_rewrite(struct __sk_buff *skb, struct packet *p, struct quote *q, struct flow6_key *to)
{
	__be32 old = (__u32)q->tuple.destination_port << 16 | q->tuple.source_port;
	__be32 new = (__u32)to->destination_port << 16 | to->source_port;
	__u32 check = p->l4 + offsetof(struct icmp_header, check);

	if (p->family == FAMILY_V4 ? quote_rewrite_v4(skb, p, q, to) : quote_rewrite_v6(skb, p, q, to))
		return drop(p, REASON_INTERNAL);
	if (old == new)
		return STEP_NEXT;
	if (bpf_l4_csum_replace(skb, check, 0, bpf_csum_diff(&old, sizeof(old), &new, sizeof(new), 0), 0) ||
	    bpf_skb_store_bytes(skb, q->l4, &new, sizeof(new), 0))
		return drop(p, REASON_INTERNAL);
	return STEP_NEXT;
}

/* Makes the error itself go between other addresses. */
static __noinline enum step error_rewrite(struct __sk_buff *skb, struct packet *p, struct ip *source, struct ip *destination)
{
	struct flow6_key to = { .source = *source, .destination = *destination, .protocol = p->tuple.protocol };
	/* ICMPv6 covers the pseudo header, ICMP does not */
	__u32 check = p->family == FAMILY_V6 ? p->l4 + offsetof(struct icmp_header, check) : 0;

	if (rewrite_addresses(skb, p, &to, check))
		return drop(p, REASON_INTERNAL);
	p->tuple.source = to.source;
	p->tuple.destination = to.destination;
	p->reason = REASON_ICMP_ERROR;
	return STEP_NEXT;
}

static __noinline enum step error_send(struct __sk_buff *skb, struct packet *p, long *action)
{
	struct bpf_fib_lookup fib;

	if (p->hop_limit <= 1)
		return drop(p, REASON_TTL); /* no error is sent about an error: RFC 1122 section 3.2.2 */
	if (!route_usable(route_find(skb, &fib, p->family, p->ifindex, &p->tuple.source, &p->tuple.destination)))
		return drop(p, REASON_NO_ROUTE);
	if (decrement_hop_limit(skb, p))
		return drop(p, REASON_INTERNAL);
	return send_by(&fib, action);
}

/* Somebody on the client's side complains about what the frontend sent: its backend must know. */
static __noinline enum step error_to_backend(struct __sk_buff *skb, struct packet *p, struct quote *q, struct flow *flow,
					     long *action)
{
	struct flow6_key to = {
		.source = flow->address,
		.destination = q->tuple.destination,
		.source_port = flow->port,
		.destination_port = q->tuple.destination_port,
		.protocol = q->tuple.protocol,
	};
	enum step step;

	if (is_direct(flow->forwarding) && !(flow->flags & FLOW_LOCAL))
		return STEP_DIRECT;
	if (flow->flags & FLOW_SNAT) {
		to.destination = flow->nat;
		to.destination_port = flow->nat_port;
	} else if (flow->flags & FLOW_PORT) {
		to.destination_port = flow->nat_port;
	}
	step = quote_rewrite(skb, p, q, &to);
	if (step == STEP_NEXT)
		step = error_rewrite(skb, p, &p->tuple.source, &flow->address);
	if (step != STEP_NEXT)
		return step;
	return flow->flags & (FLOW_SNAT | FLOW_FAST) ? error_send(skb, p, action) : STEP_PASS;
}

/* Somebody on the backend's side complains about what the client sent: back holds what the client knows. */
static __noinline enum step error_to_client(struct __sk_buff *skb, struct packet *p, struct quote *q, struct flow *back)
{
	struct flow6_key to = {
		.source = q->tuple.source,
		.destination = back->address,
		.source_port = q->tuple.source_port,
		.destination_port = back->port,
		.protocol = q->tuple.protocol,
	};
	struct ip source = ip_equal(&p->tuple.source, &q->tuple.destination) ? back->address : p->tuple.source;
	struct ip destination = p->tuple.destination;
	enum step step;

	if (back->kind == FLOW_SNAT_REPLY) {
		to.source = back->nat;
		to.source_port = back->nat_port;
		destination = back->nat;
	} else if (back->flags & FLOW_PORT) {
		to.source_port = back->nat_port;
	}
	step = quote_rewrite(skb, p, q, &to);
	if (step != STEP_NEXT)
		return step;
	return error_rewrite(skb, p, &source, &destination);
}

/* At ingress, STEP_NEXT where it is not about a flow: errors that are addressed to a frontend or to a translated port, and those of redirected flows. direct is set with STEP_DIRECT. */
__noinline enum step icmp_ingress(struct __sk_buff *skb, struct packet *p, struct flow *direct, long *action)
{
	if (!p || !direct || !action)
		return STEP_PASS;
	struct quote q = {};
	struct flow6_key answered;
	struct flow *flow;
	enum step step;

	if (!quote_read(skb, p, &q))
		return STEP_NEXT;
	tuple_reverse(&answered, &q.tuple);
	flow = flow_find(p->family, &answered);
	if (flow && flow->kind == FLOW_FORWARD && ip_equal(&p->tuple.destination, &q.tuple.source)) {
		*direct = *flow;
		return error_to_backend(skb, p, &q, flow, action);
	}
	if (flow && flow->kind == FLOW_REPLY)
		return flow->flags & FLOW_FAST ? error_send(skb, p, action) : STEP_PASS;
	flow = bpf_map_lookup_elem(&weir_snat, &answered);
	if (!flow)
		return STEP_NEXT;
	step = error_to_client(skb, p, &q, flow);
	return step == STEP_NEXT ? error_send(skb, p, action) : step;
}

/* An error that another node has sent through the tunnel to the backend it concerns. */
__noinline enum step icmp_to_endpoint(struct __sk_buff *skb, struct packet *p, struct ip *endpoint, long *action)
{
	if (!p || !endpoint || !action)
		return STEP_PASS;
	struct quote q = {};
	struct flow6_key answered;
	struct flow *flow;

	if (!quote_read(skb, p, &q))
		return drop(p, REASON_DSR_FRONTEND);
	tuple_reverse(&answered, &q.tuple);
	flow = flow_find(p->family, &answered);
	if (!flow || flow->kind != FLOW_FORWARD || !(flow->flags & FLOW_LOCAL) || !ip_equal(&flow->address, endpoint))
		return drop(p, REASON_DSR_FRONTEND);
	return error_to_backend(skb, p, &q, flow, action);
}

/* At egress towards a client: errors about what it sent to a frontend. */
__noinline enum step icmp_egress(struct __sk_buff *skb, struct packet *p)
{
	if (!p)
		return STEP_PASS;
	struct quote q = {};
	struct flow6_key answered;
	struct flow *back;
	enum step step;

	if (!quote_read(skb, p, &q) || !ip_equal(&p->tuple.destination, &q.tuple.source))
		return STEP_PASS;
	tuple_reverse(&answered, &q.tuple);
	back = flow_find(p->family, &answered);
	if (!back || back->kind != FLOW_REPLY)
		return STEP_PASS;
	step = error_to_client(skb, p, &q, back);
	return step == STEP_NEXT ? STEP_PASS : step;
}

#endif
