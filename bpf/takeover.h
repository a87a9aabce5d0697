/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One dataplane taking over from another: whose packet is it, where both are there? */
#ifndef WEIR_TAKEOVER_H
#define WEIR_TAKEOVER_H

#include "config.h"
#include "flow.h"

/* Another dataplane has taken over: the tables are not kept up any more, and only what they know of flows counts. */
static __always_inline bool is_leaving(void)
{
	struct config *config = config_get();

	return config && config->stage == STAGE_LEAVING;
}

/* Does no other dataplane serve this node? */
static __always_inline bool is_alone(void)
{
	struct config *config = config_get();

	return config && config->stage == STAGE_ALONE;
}

/*
 * A packet to a frontend that goes on with no flow of ours: the other dataplane's? Segments tell by themselves that they begin
 * nothing; for the rest the agent has written down what the other knows. known: the entry that the packet has, or NULL.
 */
static __always_inline bool is_anothers(const struct packet *p, struct flow *known)
{
	struct config *config = config_get();

	if (!config || config->stage == STAGE_ALONE)
		return false;
	if (config->stage == STAGE_LEAVING)
		return true;
	if (p->now >= config->stage_until)
		return false;
	if (is_midway(p))
		return true;
	if (!known || known->kind != FLOW_LEFT)
		return false;
	flow_touch(p, known);
	return true;
}

#endif
