/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * DSR on one link, as LVS-DR does it: only the Ethernet addresses change, so the backend must have the frontend's address and
 * port itself, and no gateway may stand between. The hop limit is lowered, since two nodes may choose each other.
 */
#ifndef WEIR_L2_H
#define WEIR_L2_H

#include "tc.h"

/* Sends the packet as it is to the backend's own Ethernet address. */
__noinline enum step send_l2(struct __sk_buff *skb, struct packet *p, struct flow *flow, long *action)
{
	if (!p || !flow || !action)
		return STEP_PASS;
	struct bpf_fib_lookup fib;
	long route;

	if (p->hop_limit <= 1)
		return STEP_PASS;
	route = route_find(skb, &fib, p->family, p->ifindex, &p->tuple.source, &flow->address);
	if (route == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		p->mtu = fib.mtu_result;
		return STEP_TOO_BIG;
	}
	if (!route_usable(route) || route_has_gateway(&fib, p->family, &flow->address) || !uplink_of(fib.ifindex))
		return drop(p, REASON_NO_ROUTE);
	if (decrement_hop_limit(skb, p))
		return drop(p, REASON_INTERNAL);
	if (p->reason != REASON_UNRECORDED)
		p->reason = REASON_FORWARDED_L2;
	return send_by(&fib, action);
}

#endif
