/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet at a pod's device as policy looks at it: whose policies apply, between which ends it goes, who began its flow. */
#ifndef WEIR_MATTER_H
#define WEIR_MATTER_H

#include "admitted.h"
#include "count.h"
#include "exempt.h"
#include "judge.h"

enum beginner {
	BEGAN_SENDER,
	BEGAN_RECEIVER,
	BEGAN_EITHER,
};

enum {
	EPHEMERAL_FIRST = 32768, /* first of the ports that Linux gives to clients (net.ipv4.ip_local_port_range) */
	GROUP_V4 = 224, /* first byte of multicast and broadcast addresses */
};

static __always_inline bool is_under_way(const struct packet *p)
{
	return is_tcp(p) && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_ACK;
}

static __always_inline bool is_ephemeral(__be16 port)
{
	return bpf_ntohs(port) >= EPHEMERAL_FIRST;
}

/* Of a flow without an entry: a client's port is an ephemeral one, as a rule, and a server's is not. */
static __always_inline enum beginner who_began(const struct packet *p, const struct matter *m)
{
	if (is_tcp(p) ? !(p->tcp_flags & TCP_ACK) : !(m->in_grace && p->tuple.protocol == IPPROTO_UDP))
		return BEGAN_SENDER;
	if (is_tcp(p) && p->tcp_flags & TCP_SYN)
		return BEGAN_RECEIVER;
	if (is_ephemeral(m->tuple.source_port) == is_ephemeral(m->tuple.destination_port))
		return BEGAN_EITHER;
	return is_ephemeral(m->tuple.source_port) ? BEGAN_SENDER : BEGAN_RECEIVER;
}

/* Has this end been judged by the policy of now? */
static __always_inline bool is_current(const struct matter *m, const struct admitted *entry)
{
	bool pod_began = (entry->lower_began == m->ascending) == m->leaving;

	return (pod_began ? entry->egress : entry->ingress) == m->epoch;
}

static __always_inline bool is_group(__u8 family, const struct ip *a)
{
	return family == FAMILY_V4 ? a->b[12] >= GROUP_V4 : a->b[0] == 0xff;
}

/* An address on its own or a pod's: the node's own ones have no policies. */
static __always_inline struct endpoint *endpoint_at(const struct ip *address)
{
	struct endpoint *endpoint = bpf_map_lookup_elem(&weir_endpoints, address);

	return endpoint && !(endpoint->flags & BACKEND_HOST) ? endpoint : NULL;
}

/* The endpoint that a device is bound to, whichever family it is known by. */
static __always_inline struct endpoint *endpoint_behind(const struct packet *p)
{
	__u32 ifindex = p->ifindex;
	struct device *device = bpf_map_lookup_elem(&weir_devices, &ifindex);
	struct ip address;
	__u8 own = p->family == FAMILY_V4 ? DEVICE_BOUND4 : DEVICE_BOUND6;

	if (!device || !(device->flags & (DEVICE_BOUND4 | DEVICE_BOUND6)))
		return NULL;
	if (!(device->flags & own))
		own ^= DEVICE_BOUND4 | DEVICE_BOUND6;
	address = own == DEVICE_BOUND4 ? device->pod4 : device->pod6;
	return endpoint_at(&address);
}

/* Whose policies apply: the address's own pod, else the one behind the device. known: to that pod the packet may be addressed. */
static __always_inline struct endpoint *pod_of(const struct packet *p, bool *known)
{
	struct ip own = p->hook == HOOK_POD_IN ? p->tuple.source : p->tuple.destination;
	struct endpoint *pod = endpoint_at(&own);

	if (pod) {
		*known = pod->pod != 0;
		return pod;
	}
	pod = endpoint_behind(p);
	*known = pod && pod->pod && is_group(p->family, &own);
	return pod;
}

static __always_inline bool is_isolated(const struct endpoint *pod)
{
	return pod && (pod->ingress | pod->egress | pod->audit_ingress | pod->audit_egress);
}

static __always_inline bool in_snat_range(const struct config *config, __be16 port)
{
	return (__u16)(bpf_ntohs(port) - config->snat_first) < config->snat_count;
}

/* In place of an address of this node that stands for a client, the client. m->tuple is as on the wire. */
static __always_inline void unmask(struct matter *m, const struct config *config)
{
	struct flow *back;

	if (!in_snat_range(config, m->leaving ? m->tuple.destination_port : m->tuple.source_port))
		return;
	if (m->leaving)
		m->key = m->tuple;
	else
		tuple_reverse(&m->key, &m->tuple);
	back = bpf_map_lookup_elem(&weir_snat, &m->key);
	if (!back)
		return;
	if (m->leaving) {
		m->tuple.destination = back->nat;
		m->tuple.destination_port = back->nat_port;
	} else {
		m->tuple.source = back->nat;
		m->tuple.source_port = back->nat_port;
	}
}

/*
 * A reply of a flow whose source was replaced has its frontend's address already: in place of that the backend's. False: it is
 * no such reply.
 */
static __always_inline bool restore_backend(const struct packet *p, struct matter *m)
{
	struct flow *flow;

	tuple_reverse(&m->key, &m->tuple);
	flow = flow_find(p->family, &m->key);
	if (!flow || flow->kind != FLOW_FORWARD || !(flow->flags & FLOW_SNAT))
		return false;
	m->tuple.source = flow->address;
	m->tuple.source_port = flow->port;
	return true;
}

/* A pod's packet to a service goes to the backend. */
static __always_inline void follow_flow(struct matter *m, const struct flow *flow)
{
	m->tuple.destination = flow->address;
	m->tuple.destination_port = flow->port;
	if (flow->flags & FLOW_PORT)
		m->tuple.source_port = flow->nat_port;
}

/* flow: where a service has been translated to; NULL: nowhere. */
static __always_inline void real_ends(const struct packet *p, struct matter *m, const struct config *config,
				      const struct flow *flow)
{
	__builtin_memcpy(&m->tuple, &p->tuple, sizeof(m->tuple));
	if (flow)
		follow_flow(m, flow);
	else
		unmask(m, config);
}

#endif
