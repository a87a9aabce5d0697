/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Times a program on packets that arrive fresh. The kernel's own repeat count does not restore the packet between iterations, so
 * from the second one on a load balancer would see its own output. This program undoes what the last iteration did to the length,
 * writes the first 64 bytes anew with the next flow's addresses, and tail-calls the unmodified program under test.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define BLOCKS 64
#define BLOCK_PACKETS 4096 /* packets between two looks at the clock */

/* bench/xdp.ts writes and reads this by offset */
struct run {
	__u32 length; /* of the template, at least 64 */
	__u32 mask; /* flows - 1, a power of two less one */
	__u32 step; /* odd: walks over the flows in a scattered order */
	__u32 source; /* first source address, host order */
	__u64 next; /* counts flows */
	__u64 packets; /* since the start of the run */
	__u64 started; /* ns */
	__u64 lost; /* tail calls that failed */
	__u64 grown; /* packets that came back 20 or 40 bytes longer */
	__u64 blocks[BLOCKS]; /* ns for BLOCK_PACKETS packets each */
	__u8 packet[64];
};

struct run run;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} target SEC(".maps"), target_tc SEC(".maps");

static __always_inline void clock(void)
{
	__u64 packet = run.packets++, now;

	if (packet % BLOCK_PACKETS)
		return;
	now = bpf_ktime_get_ns();
	if (packet)
		run.blocks[(packet / BLOCK_PACKETS - 1) % BLOCKS] = now - run.started;
	run.started = now;
}

/* The next flow's packet in place of the last. */
static __always_inline int renew(void *data, void *end)
{
	__u64 *to = data, *from = (__u64 *)run.packet;
	__u32 flow;

	if ((void *)(to + 8) > end)
		return -1;
	for (int i = 0; i < 8; i++)
		to[i] = from[i];
	flow = (__u32)(run.next++ * run.step) & run.mask;
	*(__be32 *)((void *)to + 26) = bpf_htonl(run.source + (flow >> 14));
	*(__be16 *)((void *)to + 34) = bpf_htons(1024 + (flow & 0x3fff));
	return 0;
}

SEC("xdp")
int wrap(struct xdp_md *ctx)
{
	long length = (long)ctx->data_end - (long)ctx->data;

	clock();
	asm volatile("" : "+r"(length));
	length -= run.length;
	if (length > 0)
		run.grown++;
	if (bpf_xdp_adjust_head(ctx, (int)length))
		return XDP_ABORTED;
	if (renew((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &target, 0);
	run.lost++;
	return XDP_ABORTED;
}

/* For programs that leave the length as it is. */
SEC("tc")
int wrap_tc(struct __sk_buff *skb)
{
	clock();
	if (renew((void *)(long)skb->data, (void *)(long)skb->data_end))
		return TC_ACT_SHOT;
	bpf_tail_call(skb, &target_tc, 0);
	run.lost++;
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
