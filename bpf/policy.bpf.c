/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who may send what, at the devices of pods. A pod's packets carry the pod's own address: an endpoint is bound to the device
 * behind which it lives, by the agent or, until the agent knows, by the first packet with its address. And a flow passes where
 * the policies of the pod allow it to be opened: egress of what the pod begins, ingress of what others do.
 */
#include "matter.h"
#include "policy.h"
#include "related.h"
#include "takeover.h"

int weir_source_guard(struct __sk_buff *skb, struct packet *p)
{
	struct endpoint *endpoint;
	struct device *device;
	struct ip source;
	__u32 ifindex;
	__u8 bound;

	if (!p)
		return 0;
	ifindex = p->ifindex;
	source = p->tuple.source;
	bound = p->family == FAMILY_V4 ? DEVICE_BOUND4 : DEVICE_BOUND6;
	device = bpf_map_lookup_elem(&weir_devices, &ifindex);
	if (!device || is_leaving())
		return 1;
	endpoint = bpf_map_lookup_elem(&weir_endpoints, &source);
	if (endpoint && !(endpoint->flags & BACKEND_HOST)) {
		if (!endpoint->ifindex) {
			endpoint->ifindex = ifindex;
			if (p->family == FAMILY_V4)
				device->pod4 = source;
			else
				device->pod6 = source;
			device->flags |= bound;
		}
		return endpoint->ifindex == ifindex;
	}
	if (is_link_local(p))
		bound = DEVICE_BOUND4 | DEVICE_BOUND6;
	if (!(device->flags & bound))
		return 1;
	return is_discovery(skb, p) || is_dhcp(p);
}

__u32 weir_rule(__u32 id, __u32 class, __u32 protocol, __u32 port)
{
	struct policy_set *set = bpf_map_lookup_elem(&weir_policysets, &id);

	return set ? set_allows(id, set, class, protocol, port) : 0;
}

/* May this end open the flow, by the policies of the pod? first: it has not been judged here before. */
static __always_inline bool may_open(struct matter *m, bool sender_began, bool first, __u32 *rule)
{
	bool pod_began = sender_began == m->leaving;
	__u32 id = pod_began ? m->egress : m->ingress;

	m->port = sender_began ? m->tuple.destination_port : m->tuple.source_port;
	*rule = id ? weir_rule(id, m->class, m->tuple.protocol, m->port) : 0;
	if (id && !*rule)
		return false;
	if (first)
		m->audit = pod_began ? m->audit_egress : m->audit_ingress;
	return true;
}

/* The known flow, judged by the policy of now. */
static __always_inline bool judge_again(struct packet *p, struct matter *m, struct admitted *entry)
{
	bool sender_began = entry->lower_began == m->ascending;
	bool pod_began = sender_began == m->leaving;
	__u32 rule, before = pod_began ? entry->egress : entry->ingress;

	if (before && m->flags & POLICY_KEEP_ESTABLISHED)
		rule = pod_began ? entry->egress_rule : entry->ingress_rule;
	else if (!may_open(m, sender_began, !before, &rule))
		return false;
	if (pod_began) {
		entry->egress_rule = rule;
		entry->egress = m->epoch;
	} else {
		entry->ingress_rule = rule;
		entry->ingress = m->epoch;
	}
	admitted_touch(p->now, entry);
	return true;
}

static __always_inline void admit(const struct packet *p, const struct matter *m, bool sender_began, __u32 rule)
{
	struct admitted entry = { .seen = p->now, .lower_began = sender_began == m->ascending };

	if (sender_began == m->leaving) {
		entry.egress = m->epoch;
		entry.egress_rule = rule;
	} else {
		entry.ingress = m->epoch;
		entry.ingress_rule = rule;
	}
	admitted_record(p->family, &m->key, &entry);
}

static __always_inline bool opens(struct packet *p, struct matter *m, bool sender_began)
{
	__u32 rule;

	if (!may_open(m, sender_began, true, &rule))
		return false;
	admit(p, m, sender_began, rule);
	return true;
}

static __always_inline enum step deny(struct packet *p, const struct matter *m)
{
	__u32 id = m->leaving ? m->egress : m->ingress;
	struct policy_set *set;

	if (!id) /* a reply to what the other direction does not allow to be opened */
		id = m->leaving ? m->ingress : m->egress;
	set = bpf_map_lookup_elem(&weir_policysets, &id);
	p->rule = set ? set->name : 0;
	p->reason = m->leaving ? REASON_POLICY_EGRESS : REASON_POLICY_INGRESS;
	return set && set->flags & SET_REJECT ? STEP_REJECT : STEP_DROP;
}

/*
 * A flow that has no entry, or one from before policy changed:
 *   1. whose other end is this node: exempt
 *   2. of which it is known who began it: whether that end may open it
 *   3. of which it is not, since TCP or what began before us is under way: whether either may, the likelier one where ports tell
 */
static __noinline enum step decide(struct packet *p, struct matter *m, struct admitted *entry)
{
	enum beginner who;

	m->class = class_of(m->leaving ? &m->tuple.destination : &m->tuple.source);
	if (m->class == CLASS_NODE)
		return STEP_NEXT;
	if (entry) {
		if (judge_again(p, m, entry))
			return STEP_NEXT;
		if (is_tcp(p) && !begins(p))
			return deny(p, m);
	}
	if (!entry && m->flags & POLICY_KEEP_ESTABLISHED && is_under_way(p)) {
		admit(p, m, true, 0);
		return STEP_NEXT;
	}
	who = who_began(p, m);
	if (who != BEGAN_RECEIVER && opens(p, m, true))
		return STEP_NEXT;
	if (who != BEGAN_SENDER && opens(p, m, false))
		return STEP_NEXT;
	return deny(p, m);
}

static __always_inline struct admitted *entry_of(const struct packet *p, struct matter *m)
{
	m->ascending = admitted_key(&m->key, &m->tuple);
	return admitted_find(p->family, p->now, &m->key);
}

static __always_inline enum step decide_flow(struct packet *p, struct matter *m)
{
	struct admitted *entry = entry_of(p, m);

	if (!entry && !m->leaving) {
		if (restore_backend(p, m) && ip_equal(&m->tuple.source, &m->tuple.destination))
			return STEP_NEXT;
		entry = entry_of(p, m); /* also since the key has served for another question */
	}
	if (entry && begins(p) && entry->lower_began != m->ascending)
		entry = NULL; /* the other end opens one of its own between the same ports */
	if (entry && is_current(m, entry)) {
		admitted_touch(p->now, entry);
		return STEP_NEXT;
	}
	return decide(p, m, entry);
}

/* A flow that passes though a policy on trial denies it. */
static __noinline void tell_audited(struct packet *p, struct matter *m)
{
	struct policy_set *set = bpf_map_lookup_elem(&weir_policysets, &m->audit);

	count(REASON_AUDITED, p->length);
	remember_drop(p, REASON_AUDITED, set ? set->name : 0);
}

/* An address that is no known pod's, where those are denied. */
static __noinline enum step unknown(struct __sk_buff *skb, struct packet *p, struct matter *m)
{
	__u32 class = class_of(m->leaving ? &m->tuple.destination : &m->tuple.source);

	if (class == CLASS_NODE || is_exempt(skb, p))
		return STEP_NEXT;
	return drop(p, REASON_UNKNOWN_ENDPOINT);
}

static __always_inline void take_sets(struct matter *m, const struct endpoint *pod)
{
	m->ingress = pod ? pod->ingress : 0;
	m->egress = pod ? pod->egress : 0;
	m->audit_ingress = pod ? pod->audit_ingress : 0;
	m->audit_egress = pod ? pod->audit_egress : 0;
}

int weir_judge(struct __sk_buff *skb, struct packet *p, struct flow *flow)
{
	struct config *config;
	struct endpoint *pod;
	struct matter *m;
	__u32 zero = 0, epoch;
	enum step step;
	bool known;

	if (!p || skb->mark == WEIR_MARK)
		return STEP_NEXT;
	config = bpf_map_lookup_elem(&weir_config, &zero);
	m = bpf_map_lookup_elem(&weir_matter, &zero);
	if (!config || !m || config->stage == STAGE_LEAVING)
		return STEP_NEXT;
	/* first the epoch, then what it stands for: what is judged by policies of before must not pass for judged by those of now */
	epoch = *(volatile __u32 *)&config->policy_epoch;
	pod = pod_of(p, &known);
	known = known || !(config->policy_flags & POLICY_DENY_UNKNOWN);
	if (known && !is_isolated(pod))
		return STEP_NEXT;
	m->epoch = epoch;
	m->flags = config->policy_flags;
	m->leaving = p->hook == HOOK_POD_IN;
	m->in_grace = config->grace_until > p->now;
	take_sets(m, pod);
	real_ends(p, m, config, flow);
	if (ip_equal(&m->tuple.source, &m->tuple.destination))
		return STEP_NEXT; /* the pod itself, through its own service too */
	if (!known)
		return unknown(skb, p, m);
	if (is_exempt(skb, p))
		return STEP_NEXT;
	if (is_icmp(p)) {
		if (related(skb, p, m, config))
			return STEP_NEXT;
		echo_ports(skb, p, &m->tuple);
	}
	m->audit = 0;
	step = decide_flow(p, m);
	if (step == STEP_NEXT && m->audit && !weir_rule(m->audit, m->class, m->tuple.protocol, m->port))
		tell_audited(p, m);
	return step;
}

char _license[] SEC("license") = "Dual BSD/GPL";
