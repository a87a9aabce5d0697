/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs, one a hook. Each reads the packet once, asks the stages in order and turns their answer into what the hook
 * expects. Linked with policy.bpf.c into one object, so that one replacement upgrades both.
 */
#include <linux/pkt_cls.h>
#include "count.h"
#include "expire.h"
#include "icmp.h"
#include "policy.h"
#include "service.h"
#include "sweep.h"
#include "tunnel_error.h"
#include "tunnelled.h"
#include "xdp.h"

const volatile __u32 ticks_per_second = 250;

static __always_inline int finish_tc(struct packet *p, enum step step, long action)
{
	account(p, step);
	if (step == STEP_DROP)
		return TC_ACT_SHOT;
	return step == STEP_SENT ? (int)action : TC_ACT_OK;
}

static __always_inline int finish_xdp(struct packet *p, enum step step, long action)
{
	account(p, step);
	switch (step) {
	case STEP_DROP:
		return XDP_DROP;
	case STEP_TRANSMIT:
		return XDP_TX;
	case STEP_SENT:
		return (int)action;
	default:
		return XDP_PASS;
	}
}

/* A tag within a tag: the kernel has taken the first one off. */
static __always_inline bool is_vlan(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

/* Reads the headers of a frame of this device. Global, so that what follows is verified for any packet at once. Returns enum parsed. */
__noinline __u32 parse_skb(struct __sk_buff *skb, struct packet *p, __u32 hook, __u32 ethernet)
{
	__u32 parsed;

	if (!p)
		return PARSED_FOREIGN;
	p->now = bpf_jiffies64();
	p->ifindex = skb->ifindex;
	p->hook = hook;
	if ((hook == HOOK_UP_IN || hook == HOOK_UP_OUT) && skb->vlan_present)
		return PARSED_FOREIGN; /* on a trunk: the VLAN's own device is the uplink */
	if (hook == HOOK_POD_IN && is_vlan(skb->protocol))
		return PARSED_MALFORMED; /* who takes both tags for none would have a packet that nobody has judged */
	p->l3 = ethernet ? sizeof(struct ethhdr) : 0;
	make_linear(skb); /* where that fails, parsing says what is missing */
	parsed = parse_whole(skb, p, skb->protocol);
	return p->fragment ? recall_ports(p, parsed) : parsed;
}

static __always_inline bool has_ethernet(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct device *device = bpf_map_lookup_elem(&weir_devices, &ifindex);

	return !device || !(device->flags & DEVICE_L3);
}

/* The flow's packet as XDP may send it; STEP_PASS leaves it to TC, which finds the flow recorded. */
static __always_inline must_use enum step xdp_forward(struct xdp_md *ctx, struct packet *p, struct flow *flow, long *action)
{
	__u64 where;

	if (flow->flags & FLOW_LOCAL || p->hop_limit <= 1)
		return STEP_PASS;
	where = hop_find(ctx, p, flow->backend, &flow->address);
	if (!where)
		return STEP_PASS;
	if (flow->forwarding == FORWARDING_DSR)
		return xdp_send_tunnelled(ctx, p, flow, where, action);
	if (flow->forwarding == FORWARDING_DSR_L2)
		return xdp_send_l2(ctx, p, where, action);
	if (!(flow->flags & FLOW_SNAT) || p->fragment != FRAGMENT_NONE)
		return STEP_PASS;
	return xdp_send_translated(ctx, p, (struct end){ &flow->nat, flow->nat_port }, (struct end){ &flow->address, flow->port },
				   where, REASON_FORWARDED_NAT, action);
}

/* A SYN under a flood, to where the hash alone decides: not worth looking for in the flow table. */
static __always_inline bool is_flood(const struct packet *p, const struct frontend *frontend)
{
	return begins(p) && is_direct(frontend->forwarding) && is_hashed(frontend->scheduler) && flooding(p);
}

static __always_inline must_use enum step xdp_to_frontend(struct xdp_md *ctx, struct packet *p, struct frontend *frontend,
							  long *action)
{
	struct flow *flow = is_flood(p, frontend) ? NULL : flow_find(p->family, &p->tuple);
	struct flow fresh;
	enum step step;

	if (flow_continues(p, flow))
		return xdp_forward(ctx, p, flow, action);
	if (is_anothers(p, flow) || !frontend->outside.size || !source_admitted(p, frontend))
		return STEP_PASS; /* TC refuses it */
	step = flow_begin(ctx, p, frontend, &fresh, ORIGIN_OUTSIDE);
	if (step != STEP_NEXT)
		return step;
	return xdp_forward(ctx, p, &fresh, action);
}

/* A reply to a translated source: back to the client from here. */
static __noinline enum step xdp_from_snat(struct xdp_md *ctx, struct packet *p, long *action)
{
	struct flow *back;
	__u64 where;

	if (p->hop_limit <= 1)
		return STEP_PASS;
	back = bpf_map_lookup_elem(&weir_snat, &p->tuple);
	if (!back)
		return STEP_PASS;
	where = hop_ask(ctx, p, &back->address, &back->nat);
	if (!where)
		return STEP_PASS;
	p->backend = back->backend;
	if (flow_touch(p, back))
		keep_forward(p, back);
	return xdp_send_translated(ctx, p, (struct end){ &back->address, back->port }, (struct end){ &back->nat, back->nat_port },
				   where, REASON_REPLY, action);
}

SEC("xdp")
int weir_xdp(struct xdp_md *ctx)
{
	struct packet p = { .hook = HOOK_XDP };
	struct frontend *frontend;
	enum step step;
	long action = 0;

	if (parse_ethernet(&p, xdp_data(ctx), xdp_end(ctx)) != PARSED_PORTS || p.fragment != FRAGMENT_NONE)
		return XDP_PASS;
	if (p.tuple.protocol == IPPROTO_SCTP || p.l3 + p.length > (__u64)(xdp_end(ctx) - xdp_data(ctx)))
		return XDP_PASS;
	frontend = frontend_find(&p);
	if (!frontend && !is_snat_port(&p))
		return XDP_PASS;
	p.ifindex = ctx->ingress_ifindex;
	p.now = bpf_jiffies64();
	step = frontend ? xdp_to_frontend(ctx, &p, frontend, &action) : xdp_from_snat(ctx, &p, &action);
	if (step == STEP_PASS)
		p.reason = 0; /* TC does it, and counts it */
	return finish_xdp(&p, step, action);
}

SEC("tc")
int weir_up_in(struct __sk_buff *skb)
{
	struct packet p = {};
	struct flow flow;
	struct tunnel_end end;
	long action = 0;
	enum parsed parsed = parse_skb(skb, &p, HOOK_UP_IN, has_ethernet(skb));
	enum step step = unreadable(&p, parsed);

	if (parsed == PARSED_OTHER && is_tunnelled(&p)) {
		step = receive_tunnelled(skb, &p, &end);
		if (step == STEP_NEXT && is_icmp(&p))
			step = end.is_pod ? icmp_to_endpoint(skb, &p, &end.address, &action)
					  : icmp_ingress(skb, &p, &flow, &action);
		else if (step == STEP_NEXT)
			step = to_endpoint(skb, &p, &end, &flow);
	} else if (parsed == PARSED_PORTS) {
		step = to_frontend(skb, &p, ORIGIN_OUTSIDE, &flow);
		if (step == STEP_NEXT)
			step = beside_frontends(skb, &p, &flow, &action);
	} else if (parsed == PARSED_ICMP) {
		step = icmp_ingress(skb, &p, &flow, &action);
		if (step == STEP_NEXT)
			step = tunnel_error(skb, &p);
	} else if (parsed == PARSED_OTHER) {
		step = STEP_NEXT;
	}
	step = carry_out(skb, &p, step, &flow, &action);
	return finish_tc(&p, step, action);
}

/* Leaving towards whoever may be a client: the same on every device. */
static __always_inline must_use enum step leave(struct __sk_buff *skb, struct packet *p, enum parsed parsed)
{
	if (parsed == PARSED_PORTS)
		return service_egress(skb, p);
	return parsed == PARSED_ICMP ? icmp_egress(skb, p) : STEP_PASS;
}

SEC("tc")
int weir_up_out(struct __sk_buff *skb)
{
	struct packet p = {};
	enum parsed parsed = parse_skb(skb, &p, HOOK_UP_OUT, has_ethernet(skb));

	return finish_tc(&p, leave(skb, &p, parsed), 0);
}

/* What the services have decided about a pod's packet, if the pod's policies let it go there. */
static __always_inline must_use enum step judge_leaving(struct __sk_buff *skb, struct packet *p, enum step step,
							struct flow *flow)
{
	enum step judged;

	if (step != STEP_NEXT && step != STEP_FORWARD)
		return step;
	judged = weir_judge(skb, p, step == STEP_FORWARD ? flow : NULL);
	if (judged == STEP_NEXT)
		return step;
	if (step == STEP_FORWARD)
		forget_fresh(p, flow);
	return judged;
}

SEC("tc")
int weir_pod_in(struct __sk_buff *skb)
{
	struct packet p = {};
	struct flow flow;
	enum parsed parsed = parse_skb(skb, &p, HOOK_POD_IN, true);
	enum step step = unreadable(&p, parsed);
	long action = 0;

	if (step == STEP_PASS && p.family)
		step = weir_source_guard(skb, &p) ? STEP_NEXT : drop(&p, REASON_SPOOFED_SOURCE);
	if (step == STEP_NEXT && parsed == PARSED_PORTS)
		step = to_frontend(skb, &p, ORIGIN_POD, &flow);
	step = judge_leaving(skb, &p, step, &flow);
	if (step == STEP_NEXT && parsed == PARSED_PORTS)
		step = beside_frontends(skb, &p, &flow, &action);
	else if (step == STEP_NEXT && parsed == PARSED_ICMP)
		step = icmp_ingress(skb, &p, &flow, &action);
	step = carry_out(skb, &p, step, &flow, &action);
	return finish_tc(&p, step, action);
}

SEC("tc")
int weir_pod_out(struct __sk_buff *skb)
{
	struct packet p = {};
	enum parsed parsed = parse_skb(skb, &p, HOOK_POD_OUT, true);
	enum step step = p.family ? weir_judge(skb, &p, NULL) : STEP_PASS;
	long action = 0;

	if (step == STEP_NEXT)
		step = leave(skb, &p, parsed);
	else if (step == STEP_REJECT)
		step = reject(skb, &p);
	if (step == STEP_ANSWER)
		step = send_answer(skb, &p, &action);
	return finish_tc(&p, step, action);
}

/* Run by the agent through BPF_PROG_TEST_RUN; answers in its context how many flows live on. */
SEC("syscall")
int weir_sweep(struct sweep *sweep)
{
	struct sweep now = { .now = bpf_jiffies64(), .time = bpf_ktime_get_ns() };

	bpf_for_each_map_elem(&weir_loads, recount_begin, NULL, 0);
	bpf_for_each_map_elem(&weir_flows4, sweep_flow4, &now, 0);
	now.kept4 = now.kept;
	bpf_for_each_map_elem(&weir_flows6, sweep_flow6, &now, 0);
	now.kept6 = now.kept - now.kept4;
	bpf_for_each_map_elem(&weir_snat, sweep_snat, &now, 0);
	bpf_for_each_map_elem(&weir_loads, recount_end, NULL, 0);
	bpf_for_each_map_elem(&weir_affinity, sweep_affinity, &now, 0);
	bpf_for_each_map_elem(&weir_admitted4, expire_admitted4, &now.now, 0);
	bpf_for_each_map_elem(&weir_admitted6, expire_admitted6, &now.now, 0);
	sweep->now = now.now;
	sweep->time = now.time;
	sweep->kept = now.kept;
	sweep->removed = now.removed;
	sweep->kept4 = now.kept4;
	sweep->kept6 = now.kept6;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
