/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the loader sets before it loads the programs. Settings that can change while they run are in weir_config. */
#ifndef WEIR_SETTINGS_H
#define WEIR_SETTINGS_H

/* The kernel's tick (CONFIG_HZ). Flows are timed in ticks: to read the tick costs nothing, any clock ten times a packet's budget. */
extern const volatile __u32 ticks_per_second;

#define SECOND ((__u64)ticks_per_second)

#endif
