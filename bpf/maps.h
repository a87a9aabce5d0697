/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map: who writes it, who reads it, what a miss means, what happens when it is full. No functions here.
 * All are pinned below --bpf-root under the same name. "agent" writes mean that the programs only read.
 */
#ifndef WEIR_MAPS_H
#define WEIR_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"

/* Weak: both objects define every map alike, and the linker keeps one. */
#define MAP SEC(".maps") __weak

/* Agent: settings and state. One entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
} weir_config MAP;

/* Agent: address, port and protocol of every service. A miss: not for a service. Full: the agent reports the object. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct frontend_key);
	__type(value, struct frontend);
} weir_frontends MAP;

/* Agent: backends by id. A miss during selection: the packet is dropped as internal. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, __u32);
	__type(value, struct backend);
} weir_backends MAP;

/* Agent: endpoints of this node by service, for what arrives through a tunnel. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct local_key);
	__type(value, struct local_backend);
} weir_local MAP;

/* One segment of the slots arena: chunks of backend ids. Written through mmap; created on demand and pinned as weir_slots_N. */
struct weir_segment {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WEIR_CHUNKS_PER_SEGMENT);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32) * WEIR_SLOTS_PER_CHUNK);
};

/* Agent: the segments that exist. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, WEIR_MAX_SEGMENTS);
	__uint(key_size, sizeof(__u32));
	__array(values, struct weir_segment);
} weir_slots MAP;

/* Programs: flows. LRU: when full the oldest go, and Maglev finds the same backend again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1048576);
	__type(key, struct flow4_key);
	__type(value, struct flow);
} weir_flows4 MAP;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 524288);
	__type(key, struct flow6_key);
	__type(value, struct flow);
} weir_flows6 MAP;

/* Programs: translated source ports in use. Not LRU, since a lost pair is a broken flow: full means new flows are refused. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 524288);
	__type(key, struct flow6_key);
	__type(value, struct flow);
} weir_snat MAP;

/*
 * Programs: live flows by backend id, which lc compares. Kept with every recorded flow, whatever the scheduler, so that a change to
 * lc finds them. An id beyond the end has no load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 262144);
	__type(key, __u32);
	__type(value, struct load);
} weir_loads MAP;

/* Programs: packets and bytes by backend id; 2 MiB on every core. Backends with greater ids are not counted. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct traffic);
} weir_traffic MAP;

/* Programs: clients of services with session affinity. LRU: when full the oldest go, and those clients choose anew. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct affinity_key);
	__type(value, struct affinity);
} weir_affinity MAP;

/* Programs: next hop of each backend, by backend id. A cache: renewed many times a second from the kernel's routes. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 262144);
	__type(key, __u32);
	__type(value, struct hop);
} weir_hops MAP;

/* Agent (the programs add the bound flags): devices that a program is attached to, and bridges behind which pods live. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct device);
} weir_devices MAP;

/* Agent: what the programs need to know of an uplink or overlay device in order to send from it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WEIR_MAX_UPLINKS);
	__type(key, __u32);
	__type(value, struct uplink);
} weir_uplinks MAP;

/* Agent (the programs bind an unbound one): addresses of the endpoints on this node. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct ip);
	__type(value, struct endpoint);
} weir_endpoints MAP;

/* Agent: from where tunnelled packets are accepted: node addresses and --dsr-sources; the value is an id in weir_names. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct prefix_key);
	__type(value, __u32);
} weir_sources MAP;

/*
 * Agent: addresses that services have (ClusterIP, external, load balancer), except nodes' own. Ports of theirs that
 * weir_frontends does not know are refused. The value is always 1.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct ip);
	__type(value, __u32);
} weir_vips MAP;

/* Agent: loadBalancerSourceRanges by service, and the cluster's ranges. The value is always 1. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct range_key);
	__type(value, __u32);
} weir_ranges MAP;

/* Programs: the ports of fragmented packets, for the fragments that carry none. LRU: what is lost is dropped or left alone. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct fragment_key);
	__type(value, struct fragment_ports);
} weir_fragments MAP;

/* Agent: which class of peers an address belongs to. A miss: to none. Full: the agent reports it, policy stays as it was. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct prefix_key);
	__type(value, __u32);
} weir_classes MAP;

/* Agent: what isolates pods. A miss for an id that an endpoint names: nothing is allowed. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct policy_set);
} weir_policysets MAP;

/* Agent: what is allowed; the value is the id of the rule in weir_names. A miss: not allowed. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1048576);
	__type(key, struct policy_key);
	__type(value, __u32);
} weir_policy MAP;

/* Programs: flows that policy has admitted. LRU: what is forgotten is judged again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 524288);
	__type(key, struct flow4_key);
	__type(value, struct admitted);
} weir_admitted4 MAP;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 262144);
	__type(key, struct flow6_key);
	__type(value, struct admitted);
} weir_admitted6 MAP;

/* Programs: the matter that this core decides, since the stack has no room for it. Means nothing afterwards. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct matter);
} weir_matter MAP;

/* Agent: what the ids stand for. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, __u32);
	__type(value, struct name);
} weir_names MAP;

/* Agent: which pod of the cluster has an address, for whoever reads what the other tables say. Full: the rest stays without a name. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct ip);
	__type(value, struct name);
} weir_pods MAP;

/* Agent: kernel settings that it has changed, for cleanup to restore. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct sysctl_key);
	__type(value, struct sysctl);
} weir_sysctls MAP;

/* Agent: the API server that answered last, for the next agent. One entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct api);
} weir_api MAP;

/* Programs: what was dropped lately. Counts may miss an increment when two cores meet on one entry. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct drop_key);
	__type(value, struct drop);
} weir_drops MAP;

/* Programs: which frontend a socket of the host uses by which backend. LRU: what closed sockets leave behind ages away. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct socket_key);
	__type(value, struct socket_peer);
} weir_sockets MAP;

/* Programs: packets and bytes by reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REASON_COUNT);
	__type(key, __u32);
	__type(value, struct counter);
} weir_counters MAP;

/* Programs: new flows of this second, per core. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rate);
} weir_rate MAP;

#endif
