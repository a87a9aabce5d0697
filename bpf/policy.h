/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What policy.bpf.c offers to the programs in lb.bpf.c. Global functions: each is verified once, on its own. */
#ifndef WEIR_POLICY_H
#define WEIR_POLICY_H

#include "packet.h"

/* May this packet, which a pod sent, carry the source that it carries? 1: yes. */
int weir_source_guard(struct __sk_buff *skb, struct packet *p);

/*
 * An enum step for a packet at a pod's device: STEP_NEXT where policy lets it pass, STEP_DROP or STEP_REJECT with p->reason and
 * p->rule where it does not. flow: where a service's packet is to go, NULL where it is for no service. Changes no packet.
 */
int weir_judge(struct __sk_buff *skb, struct packet *p, struct flow *flow);

/* The id of the rule of a set that lets this class open flows to a port (network order) of a protocol, 0: none. */
__u32 weir_rule(__u32 set, __u32 class, __u32 protocol, __u32 port);

#endif
