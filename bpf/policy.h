/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What policy.bpf.c offers to the programs in lb.bpf.c. Global functions: each is verified once, on its own. */
#ifndef WEIR_POLICY_H
#define WEIR_POLICY_H

#include "packet.h"

/* May this packet, which a pod sent, carry the source that it carries? 1: yes. */
int weir_source_guard(struct __sk_buff *skb, struct packet *p);

#endif
