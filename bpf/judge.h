/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the tables of policy say about opening a flow. A few lookups, whose number depends on neither policies, rules nor pods:
 *   1. the pod is not isolated in this direction: allowed
 *   2. a rule for the peer's class, or for anyone, that names the protocol and a port, the most exact one first
 *   3. a rule for the peer's class, or for anyone, that names no protocol
 *   4. else: not allowed
 * Rules only allow, so the order decides which of them is named, not what is allowed.
 */
#ifndef WEIR_JUDGE_H
#define WEIR_JUDGE_H

#include "maps.h"
#include "packet.h"

enum {
	PORT_BITS = 16,
	ANY_PROTOCOL = 17, /* bit of struct policy_set's masks */
};

static __always_inline __u32 class_of(const struct ip *address)
{
	struct prefix_key key = { .bits = 128, .address = *address };
	__u32 *class = bpf_map_lookup_elem(&weir_classes, &key);

	return class ? *class : CLASS_ANYONE;
}

/* One key with each class it may stand under. The id of the rule, 0: none. */
static __always_inline __u32 rule_for(struct policy_key *key, bool classed, bool anyone, __u32 class)
{
	__u32 *rule = NULL;

	if (classed && class != CLASS_ANYONE) {
		key->class = class;
		rule = bpf_map_lookup_elem(&weir_policy, key);
	}
	if (!rule && anyone) {
		key->class = CLASS_ANYONE;
		rule = bpf_map_lookup_elem(&weir_policy, key);
	}
	return rule ? *rule : 0;
}

/* port in network order. The id of the rule of the set that allows this class to open such a flow, 0: none. */
static __always_inline __u32 set_allows(__u32 id, const struct policy_set *set, __u32 class, __u8 protocol, __be16 port)
{
	struct policy_key key = { .set = id, .protocol = protocol };
	__u32 masks = has_ports(protocol) ? set->classed | set->anyone : 0, rule;
	__u16 number = bpf_ntohs(port);

	for (int bits = PORT_BITS; bits >= 0; bits--) {
		if (!(masks >> bits & 1))
			continue;
		key.bits = bits;
		key.port = bpf_htons(number & (0xffff0000 >> bits));
		rule = rule_for(&key, set->classed >> bits & 1, set->anyone >> bits & 1, class);
		if (rule)
			return rule;
	}
	key.bits = 0;
	key.port = 0;
	key.protocol = 0;
	return rule_for(&key, set->classed >> ANY_PROTOCOL & 1, set->anyone >> ANY_PROTOCOL & 1, class);
}

#endif
