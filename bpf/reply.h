/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which entry a backend's packet goes back by. A client may talk to a backend without a frontend, too, and from a port that it has,
 * or had, in use through one: the kernel gives out ports by destination. For the backend both are one pair of ends; TCP tells them apart.
 */
#ifndef WEIR_REPLY_H
#define WEIR_REPLY_H

#include "flow.h"

static __always_inline bool is_answer(const struct packet *p)
{
	return is_tcp(p) && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK);
}

/*
 * A backend that has yet to answer a SYN goes on with a connection: the client's own? Then the flow, which never began, takes another
 * port with its next SYN. False where the client has gone on as well: the answer has come by another way.
 */
static __noinline bool yields_port(struct packet *p, struct flow *back)
{
	struct flow6_key key;
	struct flow *flow;

	forward_key_of(&key, p, back);
	flow = flow_find(p->family, &key);
	if (flow && flow->state != FLOW_NEW) {
		back->flags |= FLOW_ANSWERED;
		return false;
	}
	flow_forget(p->family, &key, p->tuple.destination_port);
	back->kind = FLOW_TAKEN;
	back->seen = p->now;
	return true;
}

/*
 * The entry that was found for the packet, NULL where the packet is no reply of that flow, which it is not either
 *   - if it answers a SYN and the flow has ended: the client has sent the backend another since
 *   - if the backend has yet to answer the flow's SYN and goes on with a connection instead: it had that one before
 */
static __always_inline struct flow *reply_of(struct packet *p, struct flow *back)
{
	if (!back || back->kind != FLOW_REPLY)
		return NULL;
	if (is_answer(p)) {
		if (back->state >= FLOW_CLOSING) {
			flow_delete(p->family, &p->tuple);
			return NULL;
		}
		if (!(back->flags & FLOW_ANSWERED))
			back->flags |= FLOW_ANSWERED;
		return back;
	}
	if (is_midway(p) && !(p->tcp_flags & TCP_RST) && p->fragment != FRAGMENT_LATER && back->state == FLOW_NEW &&
	    !(back->flags & FLOW_ANSWERED) && yields_port(p, back))
		return NULL;
	return back;
}

#endif
