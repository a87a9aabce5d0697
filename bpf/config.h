/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The agent's settings, as they are now. */
#ifndef WEIR_CONFIG_H
#define WEIR_CONFIG_H

#include "maps.h"

static __always_inline struct config *config_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&weir_config, &zero);
}

#endif
