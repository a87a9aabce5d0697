/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where the kernel's routes lead: next hops, the device behind an address, the address this node sends from. */
#ifndef WEIR_ROUTE_H
#define WEIR_ROUTE_H

#include "maps.h"
#include "packet.h"
#include "settings.h"

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif

#define HOP_LIFETIME (SECOND / 5) /* how stale a cached neighbour may be */
#define HOP_GATEWAY (1ULL << 63) /* in where of struct hop */

/* The route of this node's own packets or of forwarded ones to an address. Returns BPF_FIB_LKUP_RET_* or a negative errno. */
static __always_inline long route_find(void *ctx, struct bpf_fib_lookup *fib, __u8 family, __u32 ifindex, const struct ip *source,
				       const struct ip *destination)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = ifindex;
	if (family == FAMILY_V4) {
		fib->family = AF_INET;
		fib->ipv4_src = ip_v4(source);
		fib->ipv4_dst = ip_v4(destination);
	} else {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, source, sizeof(*source));
		__builtin_memcpy(fib->ipv6_dst, destination, sizeof(*destination));
	}
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
}

static __always_inline bool route_usable(long result)
{
	return result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH;
}

/* There is a way, though this very packet may be too large for it. */
static __always_inline bool route_exists(long result)
{
	return route_usable(result) || result == BPF_FIB_LKUP_RET_FRAG_NEEDED;
}

/* Does the route that was found lead through a gateway? */
static __always_inline bool route_has_gateway(const struct bpf_fib_lookup *fib, __u8 family, const struct ip *destination)
{
	const __u32 *next = fib->ipv6_dst, *to = (const __u32 *)destination;

	if (family == FAMILY_V4)
		return fib->family != AF_INET || fib->ipv4_dst != ip_v4(destination);
	return ((next[0] ^ to[0]) | (next[1] ^ to[1]) | (next[2] ^ to[2]) | (next[3] ^ to[3])) != 0;
}

static __always_inline struct uplink *uplink_of(__u32 ifindex)
{
	struct device *device = bpf_map_lookup_elem(&weir_devices, &ifindex);
	__u32 index;

	if (!device || !device->uplink)
		return NULL;
	index = device->uplink - 1;
	return bpf_map_lookup_elem(&weir_uplinks, &index);
}

/* Asks the kernel for the next hop, packed as in struct hop. 0: none that XDP could address. */
static __noinline __u64 hop_ask(struct xdp_md *ctx, struct packet *p, struct ip *source, struct ip *destination)
{
	struct bpf_fib_lookup fib;
	struct device *device;
	__u64 where = 0;
	__u32 ifindex;

	if (route_find(ctx, &fib, p->family, p->ifindex, source, destination) != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	ifindex = fib.ifindex;
	device = bpf_map_lookup_elem(&weir_devices, &ifindex);
	if (!device || !device->uplink || device->flags & DEVICE_OVERLAY)
		return 0;
	__builtin_memcpy(&where, fib.dmac, ETH_ALEN);
	if (route_has_gateway(&fib, p->family, destination))
		where |= HOP_GATEWAY;
	return where | (__u64)device->uplink << 48;
}

static __always_inline __u64 hop_find(struct xdp_md *ctx, struct packet *p, __u32 backend, struct ip *to)
{
	struct hop *hop = bpf_map_lookup_elem(&weir_hops, &backend);

	if (!hop)
		return 0;
	if (hop->until <= p->now) {
		hop->where = hop_ask(ctx, p, &p->tuple.source, to);
		hop->until = p->now + HOP_LIFETIME;
	}
	return hop->where;
}

static __always_inline struct uplink *hop_uplink(__u64 where)
{
	__u32 index = (__u32)((where & ~HOP_GATEWAY) >> 48) - 1;

	return bpf_map_lookup_elem(&weir_uplinks, &index);
}

#endif
