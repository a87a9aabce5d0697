/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reading the packet that an ICMP error is about. */
#ifndef WEIR_QUOTE_H
#define WEIR_QUOTE_H

#include "parse.h"

/* The packet that an error is about, as the sender of the error saw it. */
struct quote {
	struct flow6_key tuple;
	__u16 l3; /* offsets from the start of the frame */
	__u16 l4;
};

static __always_inline bool is_icmp_error(__u8 family, __u8 type)
{
	if (family == FAMILY_V6)
		return type >= ICMP6_UNREACHABLE && type <= ICMP6_PARAMETER;
	return type == ICMP4_UNREACHABLE || type == ICMP4_TIME_EXCEEDED || type == ICMP4_PARAMETER;
}

/* Reads the network header at q->l3. */
static __always_inline bool quote_network(struct __sk_buff *skb, const struct packet *p, struct quote *q)
{
	if (p->family == FAMILY_V4) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, q->l3, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
			return false;
		q->l4 = q->l3 + ip.ihl * 4;
		q->tuple.protocol = ip.protocol;
		ip_set_v4(&q->tuple.source, ip.saddr);
		ip_set_v4(&q->tuple.destination, ip.daddr);
		return (ip.frag_off & bpf_htons(IP_FRAGMENT_OFFSET)) == 0;
	}
	struct ipv6hdr ip;

	if (bpf_skb_load_bytes(skb, q->l3, &ip, sizeof(ip)) || ip.version != 6)
		return false;
	q->l4 = q->l3 + sizeof(ip);
	q->tuple.protocol = ip.nexthdr;
	__builtin_memcpy(&q->tuple.source, &ip.saddr, sizeof(struct ip));
	__builtin_memcpy(&q->tuple.destination, &ip.daddr, sizeof(struct ip));
	return true;
}

static __always_inline bool quote_ports(struct __sk_buff *skb, struct quote *q)
{
	__be16 ports[2];

	if (q->tuple.protocol != IPPROTO_TCP && q->tuple.protocol != IPPROTO_UDP && q->tuple.protocol != IPPROTO_SCTP)
		return false;
	if (bpf_skb_load_bytes(skb, q->l4, ports, sizeof(ports)))
		return false;
	q->tuple.source_port = ports[0];
	q->tuple.destination_port = ports[1];
	return true;
}

/* Reads the quoted packet of an ICMP error about TCP, UDP or SCTP. */
static __always_inline bool quote_read(struct __sk_buff *skb, const struct packet *p, struct quote *q)
{
	__u8 type;

	if (p->fragment == FRAGMENT_LATER)
		return false;
	if (bpf_skb_load_bytes(skb, p->l4, &type, sizeof(type)) || !is_icmp_error(p->family, type))
		return false;
	q->l3 = p->l4 + sizeof(struct icmp_header);
	return quote_network(skb, p, q) && quote_ports(skb, q);
}

#endif
