/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lets everything pass. Its presence makes the other end of a veth receive what XDP sends. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
