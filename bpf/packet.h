/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the programs know of the packet in hand, and what may become of it. No maps, no parsing here. */
#ifndef WEIR_PACKET_H
#define WEIR_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"

#define WEIR_MARK 0x57000000 /* of packets that Weir itself sends in answer */

#define must_use __attribute__((warn_unused_result))

/*
 * Functions that are neither inlined nor static are verified by the kernel once, on their own, instead of once for every path
 * that leads to them: without that the programs exceed what a kernel is willing to check. The price is that each must look at
 * its pointers, though no caller passes NULL, and that before Linux 6.2 none may use what it was handed as a map's key or value.
 */

/* What a stage decided. Only the entry points turn it into an XDP or TC code. */
enum step {
	STEP_NEXT, /* nothing decided: the next stage looks */
	STEP_FORWARD, /* the flow is known: translate as it says */
	STEP_DIRECT, /* the flow's backend is elsewhere and gets the packet as it is */
	STEP_REFUSE, /* nobody serves here: say so to the sender; made by refusal() alone */
	STEP_REJECT, /* a policy denies it: say so to the sender */
	STEP_ANSWER, /* has become the answer to itself: send it */
	STEP_TOO_BIG, /* tell the sender that p->mtu fits */
	STEP_PASS, /* the node's stack takes it */
	STEP_SENT, /* redirected: the program returns what the redirect helper asked for */
	STEP_TRANSMIT, /* XDP: out of the device it came from */
	STEP_DROP, /* made by drop() alone */
};

enum family {
	FAMILY_NONE,
	FAMILY_V4 = 4,
	FAMILY_V6 = 6,
};

enum fragment {
	FRAGMENT_NONE,
	FRAGMENT_FIRST,
	FRAGMENT_LATER, /* carries no ports */
	FRAGMENT_LOST, /* a later one whose first was not seen */
};

struct packet {
	struct flow6_key tuple; /* as it is on the wire now; IPv4 mapped */
	__u64 now; /* kernel ticks */
	__u32 ifindex; /* device of this hook */
	__u32 length; /* bytes from the network header on, by the header's own account */
	__u8 elsewhere; /* its answer goes by the route, not back to where the packet came from */
	__u8 l3; /* offsets from the start of the frame */
	__u16 l4;
	__u8 family; /* enum family */
	__u8 fragment : 7; /* enum fragment */
	__u8 fresh : 1; /* its flow towards a backend has been recorded for this very packet */
	__u8 tcp_flags;
	__u8 hop_limit;
	__u8 reason; /* enum reason; 0: not worth counting */
	__u8 hook; /* enum hook */
	__u16 mtu; /* with STEP_TOO_BIG */
	union {
		__u32 fragment_id; /* from parsing a fragment until its ports are recalled */
		__u32 backend; /* id of the one it goes to or comes from, 0: none */
		__u32 rule; /* id in weir_names of the policies that deny it */
	};
};

/* TCP flags, RFC 9293 section 3.1 */
enum tcp_flag {
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_ACK = 16,
};

static __always_inline must_use enum step drop(struct packet *p, enum reason reason)
{
	p->reason = reason;
	return STEP_DROP;
}

static __always_inline must_use enum step refusal(struct packet *p, enum reason reason)
{
	p->reason = reason;
	return STEP_REFUSE;
}

static __always_inline bool ip_equal(const struct ip *a, const struct ip *b)
{
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;

	return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3])) == 0;
}

static __always_inline __be32 ip_v4(const struct ip *a)
{
	return ((const __be32 *)a)[3];
}

static __always_inline void ip_set_v4(struct ip *a, __be32 address)
{
	__u32 *w = (__u32 *)a;

	w[0] = 0;
	w[1] = 0;
	w[2] = bpf_htonl(0xffff);
	w[3] = address;
}

static __always_inline bool has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

static __always_inline bool is_tcp(const struct packet *p)
{
	return p->tuple.protocol == IPPROTO_TCP;
}

/* The first segment of a connection. */
static __always_inline bool begins(const struct packet *p)
{
	return is_tcp(p) && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* A segment within a connection. */
static __always_inline bool is_midway(const struct packet *p)
{
	return is_tcp(p) && !(p->tcp_flags & TCP_SYN);
}

/* A sum of 16-bit words in network order, as bpf_csum_diff gives it, to 16 bits. */
static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* data + offset, bounded in a way that the verifier sees and clang does not optimise away. mask is a power of two less one. */
static __always_inline void *at_offset(void *data, __u32 offset, __u32 mask)
{
	asm volatile("" : "+r"(offset));
	offset &= mask;
	asm volatile("" : "+r"(offset));
	return data + offset;
}

/* The tuple of a packet that answers this one. */
static __always_inline void tuple_reverse(struct flow6_key *out, const struct flow6_key *in)
{
	out->source = in->destination;
	out->destination = in->source;
	out->source_port = in->destination_port;
	out->destination_port = in->source_port;
	out->protocol = in->protocol;
	out->pad[0] = out->pad[1] = out->pad[2] = 0;
}

#endif
