/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The object's maps with programs that only count: what the tests of the loader load. VERDICT tells two builds apart,
 * BROKEN makes one that the verifier rejects, WIDE_KEY one whose weir_frontends has another key.
 */
#ifdef WIDE_KEY
#define weir_frontends weir_other
#endif
#include "maps.h"

char _license[] SEC("license") = "Dual BSD/GPL";

#ifndef VERDICT
#define VERDICT 0
#endif

#ifdef WIDE_KEY
#undef weir_frontends
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct flow6_key);
	__type(value, struct frontend);
} weir_frontends SEC(".maps");
#endif

static void count(__u32 key, __u64 bytes)
{
	struct counter *counter = bpf_map_lookup_elem(&weir_counters, &key);

	if (counter) {
		counter->packets++;
		counter->bytes += bytes;
	}
}

#define COUNTING(name, key)                    \
	SEC("tc")                              \
	int name(struct __sk_buff *skb)        \
	{                                      \
		count(key, skb->len);          \
		return VERDICT;                \
	}

COUNTING(weir_up_in, 80)
COUNTING(weir_up_out, 81)
COUNTING(weir_pod_in, 82)
COUNTING(weir_pod_out, 83)

SEC("tc")
int stranger(struct __sk_buff *skb)
{
	return skb->len ? 0 : -1;
}

SEC("xdp")
int weir_xdp(struct xdp_md *ctx)
{
#ifdef BROKEN
	return *(volatile int *)(long)ctx->data;
#endif
	count(84, ctx->data_end - ctx->data);
	return XDP_PASS;
}

struct sweep {
	__u64 now;
	__u64 time;
	__u64 kept;
	__u64 removed;
};

SEC("syscall")
int weir_sweep(struct sweep *sweep)
{
	sweep->now = 3;
	sweep->time = 4;
	sweep->kept = 5;
	sweep->removed = 6;
	return 0;
}
