/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One dataplane taking over from another: whose packet is it, where both are there? */
#ifndef WEIR_TAKEOVER_H
#define WEIR_TAKEOVER_H

#include "config.h"
#include "packet.h"

/* Another dataplane has taken over: the tables are not kept up any more, and only what they know of flows counts. */
static __always_inline bool is_leaving(void)
{
	struct config *config = config_get();

	return config && config->stage == STAGE_LEAVING;
}

/* A packet to a frontend, of a flow that nobody here knows: the other dataplane's? */
static __always_inline bool is_anothers(const struct packet *p)
{
	struct config *config = config_get();

	if (!config || config->stage == STAGE_ALONE)
		return false;
	if (config->stage == STAGE_LEAVING)
		return true;
	return is_midway(p) && p->now < config->stage_until;
}

#endif
