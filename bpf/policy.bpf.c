/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who may send what. So far: a pod's packets carry the pod's own address. An endpoint is bound to the device behind which it
 * lives, by the agent or, until the agent knows, by the first packet with its address.
 */
#include "maps.h"
#include "parse.h"
#include "policy.h"

enum {
	DHCP_SERVER = 67,
	DHCP_CLIENT = 68,
	DHCP6_CLIENT = 546,
	DHCP6_SERVER = 547,
	MLD_FIRST = 130, /* RFC 2710, RFC 4861: listener queries to router and neighbour discovery */
	ND_ROUTER_SOLICIT = 133,
	ND_LAST = 136,
	MLD2_REPORT = 143, /* RFC 3810 */
	ND_HOP_LIMIT = 255, /* RFC 4861 section 6.1: nothing that crossed a router */
};

static __always_inline bool is_discovery(struct __sk_buff *skb, const struct packet *p)
{
	__u8 type;

	if (p->family != FAMILY_V6 || p->tuple.protocol != IPPROTO_ICMPV6 || bpf_skb_load_bytes(skb, p->l4, &type, sizeof(type)))
		return false;
	if (type >= ND_ROUTER_SOLICIT && type <= ND_LAST)
		return p->hop_limit == ND_HOP_LIMIT;
	return (type >= MLD_FIRST && type < ND_ROUTER_SOLICIT) || type == MLD2_REPORT;
}

static __always_inline bool is_dhcp(const struct packet *p)
{
	if (p->tuple.protocol != IPPROTO_UDP)
		return false;
	if (p->family == FAMILY_V4)
		return p->tuple.source_port == bpf_htons(DHCP_CLIENT) && p->tuple.destination_port == bpf_htons(DHCP_SERVER);
	return p->tuple.source_port == bpf_htons(DHCP6_CLIENT) && p->tuple.destination_port == bpf_htons(DHCP6_SERVER);
}

static __always_inline bool is_link_local(const struct packet *p)
{
	const __u8 *b = p->tuple.source.b;

	if (p->family == FAMILY_V4)
		return b[12] == 169 && b[13] == 254;
	return b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
}

int weir_source_guard(struct __sk_buff *skb, struct packet *p)
{
	struct endpoint *endpoint;
	struct device *device;
	struct ip source;
	__u32 ifindex;
	__u8 bound;

	if (!p)
		return 0;
	ifindex = p->ifindex;
	source = p->tuple.source;
	bound = p->family == FAMILY_V4 ? DEVICE_BOUND4 : DEVICE_BOUND6;
	device = bpf_map_lookup_elem(&weir_devices, &ifindex);
	if (!device)
		return 1;
	endpoint = bpf_map_lookup_elem(&weir_endpoints, &source);
	if (endpoint && !(endpoint->flags & BACKEND_HOST)) {
		if (!endpoint->ifindex) {
			endpoint->ifindex = ifindex;
			device->flags |= bound;
		}
		return endpoint->ifindex == ifindex;
	}
	if (is_link_local(p))
		bound = DEVICE_BOUND4 | DEVICE_BOUND6;
	if (!(device->flags & bound))
		return 1;
	return is_discovery(skb, p) || is_dhcp(p);
}

char _license[] SEC("license") = "Dual BSD/GPL";
