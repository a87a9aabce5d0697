/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From bytes to struct packet: Ethernet, IPv4 with options, IPv6 with up to 6 extension headers, ports. Reads only.
 * Every function checks its bounds against the end that it is given and returns a named result.
 */
#ifndef WEIR_PARSE_H
#define WEIR_PARSE_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include "packet.h"

enum parsed {
	PARSED_PORTS, /* TCP, UDP or SCTP with its ports */
	PARSED_ICMP, /* ICMP or ICMPv6; ports are zero */
	PARSED_OTHER, /* another protocol, or a later fragment: addresses and protocol alone */
	PARSED_FOREIGN, /* not IP */
	PARSED_MALFORMED,
	PARSED_TOO_MANY_HEADERS,
};

enum {
	IP_MORE_FRAGMENTS = 0x2000, /* RFC 791 section 3.1, host order */
	IP_DONT_FRAGMENT = 0x4000,
	IP_FRAGMENT_OFFSET = 0x1fff,
	MAX_EXTENSION_HEADERS = 6,
	NETWORK_MAX = 15, /* bytes before the network header; a mask */
	HEADERS_MAX = 511, /* bytes before the transport header; a mask */
	PROTOCOL_IPIP = 4,
	PROTOCOL_IP6IP6 = 41,
	EXTENSION_HOP_BY_HOP = 0, /* RFC 8200 section 4 */
	EXTENSION_ROUTING = 43,
	EXTENSION_FRAGMENT = 44,
	EXTENSION_AUTH = 51,
	EXTENSION_DESTINATION = 60,
};

/* RFC 792, RFC 4443: both begin alike. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 check;
	__be32 rest; /* unused, or the MTU */
};

enum {
	ICMP4_ECHO = 8,
	ICMP4_ECHO_REPLY = 0,
	ICMP4_UNREACHABLE = 3,
	ICMP4_HOST = 1, /* codes of unreachable */
	ICMP4_PORT = 3,
	ICMP4_TOO_BIG = 4,
	ICMP4_PROHIBITED = 13, /* RFC 1812 section 5.2.7.1 */
	ICMP4_TIME_EXCEEDED = 11,
	ICMP4_PARAMETER = 12,
	ICMP6_ECHO = 128,
	ICMP6_ECHO_REPLY = 129,
	ICMP6_UNREACHABLE = 1,
	ICMP6_PROHIBITED = 1, /* codes of unreachable */
	ICMP6_ADDRESS = 3,
	ICMP6_PORT = 4,
	ICMP6_TOO_BIG = 2,
	ICMP6_PARAMETER = 4,
};

struct extension_header {
	__u8 next;
	__u8 length; /* in 8 bytes, without the first 8 (AH: in 4 bytes, without the first 8) */
};

struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset; /* in 8 bytes, 3 low bits are flags, the lowest: more fragments */
	__be32 id;
};

static __always_inline bool is_icmp(const struct packet *p)
{
	return p->tuple.protocol == (p->family == FAMILY_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static __always_inline must_use enum parsed parse_ports(struct packet *p, void *data, void *end)
{
	__u32 need;
	void *l4 = at_offset(data, p->l4, HEADERS_MAX);

	switch (p->tuple.protocol) {
	case IPPROTO_TCP: {
		struct tcphdr *tcp = l4;

		if ((void *)(tcp + 1) > end)
			return PARSED_MALFORMED;
		p->tuple.source_port = tcp->source;
		p->tuple.destination_port = tcp->dest;
		p->tcp_flags = ((__u8 *)tcp)[13];
		need = sizeof(*tcp);
		break;
	}
	case IPPROTO_UDP:
	case IPPROTO_SCTP: {
		struct udphdr *udp = l4;

		/* both begin with the two ports; SCTP's common header is 12 bytes, RFC 9260 section 3 */
		need = p->tuple.protocol == IPPROTO_UDP ? sizeof(*udp) : 12;
		if ((void *)(udp + 1) > end)
			return PARSED_MALFORMED;
		p->tuple.source_port = udp->source;
		p->tuple.destination_port = udp->dest;
		break;
	}
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return is_icmp(p) ? PARSED_ICMP : PARSED_OTHER;
	default:
		return PARSED_OTHER;
	}
	return (__u32)(p->l4 - p->l3) + need <= p->length ? PARSED_PORTS : PARSED_MALFORMED;
}

static __always_inline must_use enum parsed parse_v4(struct packet *p, void *data, void *end)
{
	struct iphdr *ip = at_offset(data, p->l3, NETWORK_MAX);
	__u16 fragment;
	__u32 header;

	if ((void *)(ip + 1) > end)
		return PARSED_MALFORMED;
	header = ip->ihl * 4;
	p->length = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || p->length < header)
		return PARSED_MALFORMED;
	p->family = FAMILY_V4;
	p->l4 = p->l3 + header;
	p->hop_limit = ip->ttl;
	p->tuple.protocol = ip->protocol;
	ip_set_v4(&p->tuple.source, ip->saddr);
	ip_set_v4(&p->tuple.destination, ip->daddr);
	fragment = bpf_ntohs(ip->frag_off);
	if (fragment & (IP_FRAGMENT_OFFSET | IP_MORE_FRAGMENTS))
		p->fragment_id = ip->id;
	if (fragment & IP_FRAGMENT_OFFSET) {
		p->fragment = FRAGMENT_LATER;
		return PARSED_OTHER;
	}
	if (fragment & IP_MORE_FRAGMENTS)
		p->fragment = FRAGMENT_FIRST;
	return parse_ports(p, data, end);
}

/* Leaves l4 and protocol at the first header that is no extension header. */
static __always_inline must_use enum parsed parse_extensions(struct packet *p, void *data, void *end)
{
	__u32 at = p->l4;
	__u8 next = p->tuple.protocol;

	for (int i = 0; i <= MAX_EXTENSION_HEADERS && at <= HEADERS_MAX; i++) {
		struct extension_header *header = at_offset(data, at, HEADERS_MAX);

		if (next != EXTENSION_HOP_BY_HOP && next != EXTENSION_ROUTING && next != EXTENSION_DESTINATION &&
		    next != EXTENSION_AUTH && next != EXTENSION_FRAGMENT) {
			p->tuple.protocol = next;
			p->l4 = at;
			return PARSED_PORTS;
		}
		if (i == MAX_EXTENSION_HEADERS)
			break;
		if ((void *)header + sizeof(struct fragment_header) > end)
			return PARSED_MALFORMED;
		if (next == EXTENSION_FRAGMENT) {
			__u16 offset = bpf_ntohs(((struct fragment_header *)header)->offset);

			p->fragment_id = ((struct fragment_header *)header)->id;
			if (offset & 0xfff8) {
				p->fragment = FRAGMENT_LATER;
				p->tuple.protocol = header->next;
				return PARSED_OTHER;
			}
			if (offset & 1)
				p->fragment = FRAGMENT_FIRST;
			at += sizeof(struct fragment_header);
		} else if (next == EXTENSION_AUTH) {
			at += (header->length + 2) * 4;
		} else {
			at += (header->length + 1) * 8;
		}
		next = header->next;
	}
	return PARSED_TOO_MANY_HEADERS;
}

static __always_inline must_use enum parsed parse_v6(struct packet *p, void *data, void *end)
{
	struct ipv6hdr *ip = at_offset(data, p->l3, NETWORK_MAX);
	enum parsed parsed;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return PARSED_MALFORMED;
	p->family = FAMILY_V6;
	p->length = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	p->l4 = p->l3 + sizeof(*ip);
	p->hop_limit = ip->hop_limit;
	p->tuple.protocol = ip->nexthdr;
	__builtin_memcpy(&p->tuple.source, &ip->saddr, sizeof(struct ip));
	__builtin_memcpy(&p->tuple.destination, &ip->daddr, sizeof(struct ip));
	parsed = parse_extensions(p, data, end);
	if (parsed != PARSED_PORTS)
		return parsed;
	return parse_ports(p, data, end);
}

/* l3: where the network header begins; ethertype in network order. */
static __always_inline must_use enum parsed parse_network(struct packet *p, void *data, void *end, __be16 ethertype)
{
	if (ethertype == bpf_htons(ETH_P_IP))
		return parse_v4(p, data, end);
	if (ethertype == bpf_htons(ETH_P_IPV6))
		return parse_v6(p, data, end);
	return PARSED_FOREIGN;
}

static __always_inline must_use enum parsed parse_ethernet(struct packet *p, void *data, void *end)
{
	struct ethhdr *eth = data;

	if ((void *)(eth + 1) > end)
		return PARSED_FOREIGN;
	p->l3 = sizeof(*eth);
	return parse_network(p, data, end, eth->h_proto);
}

/* What is the matter with a packet that could not be read; STEP_PASS where that is not ours to judge. */
static __always_inline must_use enum step unreadable(struct packet *p, enum parsed parsed)
{
	if (parsed == PARSED_MALFORMED)
		return drop(p, REASON_MALFORMED);
	if (parsed == PARSED_TOO_MANY_HEADERS)
		return drop(p, REASON_EXTENSION_HEADERS);
	return STEP_PASS;
}

#endif
