/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What Weir is measured against: the least that a balancer of its kind could do. noop does nothing; maglev is stateless IP in IP;
 * maglev_flows has a flow table of a million entries in front; nat_flows translates with two entries a flow.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct vip {
	__be32 address;
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

struct key {
	__be32 source, destination;
	__be16 source_port, destination_port;
	__u8 protocol;
	__u8 pad[3];
};

struct end {
	__be32 address;
	__be16 port;
	__u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, struct vip);
	__type(value, __u64);
} vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65537);
	__type(key, __u32);
	__type(value, __u32);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __be32);
} reals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1000000);
	__type(key, struct key);
	__type(value, __u64);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1000000);
	__type(key, struct key);
	__type(value, struct end);
} translations SEC(".maps");

SEC("xdp")
int noop(struct xdp_md *ctx)
{
	return XDP_TX;
}

SEC("tc")
int noop_tc(struct __sk_buff *skb)
{
	return 0;
}

static __always_inline int parse(struct xdp_md *ctx, struct key *k)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	__be16 *ports = (void *)(ip + 1);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 || ip->frag_off & bpf_htons(0x3fff))
		return -1;
	if (ip->protocol == IPPROTO_TCP ? (void *)ports + sizeof(struct tcphdr) > end
					: (void *)ports + sizeof(struct udphdr) > end)
		return -1;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return -1;
	*k = (struct key){ ip->saddr, ip->daddr, ports[0], ports[1], ip->protocol };
	return 0;
}

static __always_inline int is_vip(const struct key *k)
{
	struct vip vip = { k->destination, k->destination_port, k->protocol };

	return bpf_map_lookup_elem(&vips, &vip) != NULL;
}

static __always_inline __u32 rotate(__u32 x, int n)
{
	return x << n | x >> (32 - n);
}

static __always_inline __be32 choose(const struct key *k)
{
	__u32 a = k->source + 0xdeadbeef, b = ((__u32)k->source_port << 16 | k->destination_port) + 0xdeadbeef;
	__u32 c = k->protocol + 0xdeadbeef, slot, *real;
	__be32 *address;

	c ^= b, c -= rotate(b, 14), a ^= c, a -= rotate(c, 11), b ^= a, b -= rotate(a, 25);
	c ^= b, c -= rotate(b, 16), a ^= c, a -= rotate(c, 4), b ^= a, b -= rotate(a, 14), c ^= b, c -= rotate(b, 24);
	slot = c % 65537;
	real = bpf_map_lookup_elem(&ring, &slot);
	address = real ? bpf_map_lookup_elem(&reals, real) : NULL;
	return address && *address ? *address : bpf_htonl(0x0a000001);
}

static __always_inline int encapsulate(struct xdp_md *ctx, __be32 to)
{
	struct ethhdr *eth, *old;
	struct iphdr *outer, *inner;
	__u16 *words, length;
	__u32 sum = 0;

	if (bpf_xdp_adjust_head(ctx, -20))
		return XDP_DROP;
	eth = (void *)(long)ctx->data;
	old = (void *)eth + 20;
	outer = (void *)(eth + 1);
	inner = outer + 1;
	words = (void *)outer;
	if ((void *)(inner + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	__builtin_memcpy(eth->h_source, old->h_dest, 6);
	__builtin_memcpy(eth->h_dest, "\x02\0\0\0\0\x09", 6);
	eth->h_proto = bpf_htons(ETH_P_IP);
	length = bpf_ntohs(inner->tot_len) + 20;
	__builtin_memset(outer, 0, 20);
	outer->version = 4, outer->ihl = 5, outer->ttl = 64, outer->protocol = IPPROTO_IPIP;
	outer->tot_len = bpf_htons(length), outer->saddr = bpf_htonl(0xac100001), outer->daddr = to;
	for (int i = 0; i < 10; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	outer->check = ~sum;
	return XDP_TX;
}

SEC("xdp")
int maglev(struct xdp_md *ctx)
{
	struct key k = {};

	if (parse(ctx, &k) || !is_vip(&k))
		return XDP_PASS;
	return encapsulate(ctx, choose(&k));
}

SEC("xdp")
int maglev_flows(struct xdp_md *ctx)
{
	struct key k = {};
	__u64 *known, real;

	if (parse(ctx, &k) || !is_vip(&k))
		return XDP_PASS;
	known = bpf_map_lookup_elem(&flows, &k);
	real = known ? *known : choose(&k);
	if (!known)
		bpf_map_update_elem(&flows, &k, &real, BPF_ANY);
	return encapsulate(ctx, real);
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u16 update(__u16 check, __u32 difference)
{
	return ~fold((__u16)~check + difference);
}

SEC("xdp")
int nat_flows(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct end *known, to;
	struct key k = {};
	__u32 addresses, all;

	if (parse(ctx, &k) || !is_vip(&k))
		return XDP_PASS;
	known = bpf_map_lookup_elem(&translations, &k);
	if (known) {
		to = *known;
	} else {
		struct end vip = { k.destination, k.destination_port };
		struct key back = {};

		to = (struct end){ choose(&k), bpf_htons(8080) };
		back = (struct key){ to.address, k.source, to.port, k.source_port, k.protocol };
		bpf_map_update_elem(&translations, &k, &to, BPF_ANY);
		bpf_map_update_elem(&translations, &back, &vip, BPF_ANY);
	}
	if ((void *)(ip + 1) + sizeof(struct tcphdr) > end)
		return XDP_DROP;
	addresses =
		(__u16) ~(k.destination & 0xffff) + (__u16) ~(k.destination >> 16) + (to.address & 0xffff) + (to.address >> 16);
	all = addresses + (__u16)~k.destination_port + to.port;
	ip->check = update(ip->check, addresses);
	ip->daddr = to.address;
	if (k.protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = (void *)(ip + 1);

		tcp->check = update(tcp->check, all), tcp->dest = to.port;
	} else {
		struct udphdr *udp = (void *)(ip + 1);

		udp->dest = to.port;
		if (udp->check)
			udp->check = update(udp->check, all);
	}
	__builtin_memcpy(eth->h_source, eth->h_dest, 6);
	__builtin_memcpy(eth->h_dest, "\x02\0\0\0\0\x09", 6);
	return XDP_TX;
}

char _license[] SEC("license") = "Dual BSD/GPL";
