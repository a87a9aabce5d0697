/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What user space reads through BTF: the keys and values of every map, and their enums.
 * No behaviour belongs here. src/maps/layout.ts is generated from these types, docs/map-abi.md describes them.
 *
 * Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d, in network order. Ports are in network order (__be16), all else is in
 * host order. Padding is named pad and always zero.
 */
#ifndef WEIR_ABI_H
#define WEIR_ABI_H

#include <linux/types.h>

#define WEIR_SLOTS_PER_CHUNK 64
#define WEIR_CHUNKS_PER_SEGMENT 16384
#define WEIR_MAX_SEGMENTS 64
#define WEIR_MAX_UPLINKS 64
#define WEIR_NAME_LENGTH 320

struct ip {
	__u8 b[16];
} __attribute__((aligned(4)));

/* Which way a frontend address is reached; decides which rules of Kubernetes apply to it. */
enum frontend_kind {
	FRONTEND_CLUSTER_IP = 1,
	FRONTEND_NODE_PORT = 2,
	FRONTEND_EXTERNAL_IP = 3,
	FRONTEND_LOAD_BALANCER = 4,
};

enum frontend_flag {
	FRONTEND_EXISTS = 1, /* some endpoint exists in the cluster, so an empty selection drops instead of refusing */
	FRONTEND_RANGES = 2, /* only sources that weir_ranges holds for its service are admitted */
};

enum config_flag {
	CONFIG_MASQUERADE_ALL = 1, /* the source of every translated flow is replaced */
	CONFIG_SERVICE4 = 2, /* service4 is known */
	CONFIG_SERVICE6 = 4,
};

enum scheduler {
	SCHEDULER_MAGLEV = 1,
	SCHEDULER_RR = 2,
	SCHEDULER_RANDOM = 3,
	SCHEDULER_LC = 4, /* least connections */
	SCHEDULER_SH = 5, /* source hashing */
	SCHEDULER_DH = 6, /* destination hashing */
};

enum forwarding {
	FORWARDING_NAT = 1,
	FORWARDING_DSR = 2, /* through a tunnel to the backend's node */
	FORWARDING_DSR_L2 = 3, /* as it is, to the backend's Ethernet address */
};

enum backend_state {
	BACKEND_ACTIVE = 1,
	BACKEND_TERMINATING = 2,
};

enum backend_flag {
	BACKEND_LOCAL = 1, /* lives on this node */
	BACKEND_HOST = 2, /* its address is a node's own: no pod device in front of it */
};

enum flow_kind {
	FLOW_FORWARD = 1, /* client to frontend: the destination is replaced */
	FLOW_REPLY = 2, /* backend to client: the source is replaced, at the device that faces the client */
	FLOW_SNAT_REPLY = 3, /* backend to this node's translated port: both ends are replaced */
	FLOW_TAKEN = 4, /* backend to client, who talks to it without a frontend from this port: nothing is replaced */
	FLOW_LEFT = 5, /* client to frontend, known to the dataplane that is taken over: left to it while it is there */
};

enum flow_state {
	FLOW_NEW = 1,
	FLOW_ESTABLISHED = 2,
	FLOW_CLOSING = 3, /* one end has ended its direction */
	FLOW_CLOSED = 4, /* both have, or one has reset it */
};

enum flow_flag {
	FLOW_SNAT = 1, /* the source address and port are replaced as well */
	FLOW_PORT = 2, /* only the client's port is replaced, because another flow holds it at this backend */
	FLOW_FAST = 4, /* both directions are redirected past the node's stack */
	FLOW_LOCAL = 8, /* the backend lives on this node */
	FLOW_ANSWERED = 16, /* replies: the backend has answered the client's SYN */
};

enum device_role {
	DEVICE_UPLINK = 1,
	DEVICE_POD = 2,
	DEVICE_BRIDGE = 3, /* nothing is attached: its ports are pod devices */
};

enum device_flag {
	DEVICE_XDP = 1, /* accepts frames that XDP redirects to it */
	DEVICE_OVERLAY = 2, /* no Ethernet neighbour behind it that XDP could address */
	DEVICE_BOUND4 = 4, /* an IPv4 endpoint is known to live behind it */
	DEVICE_BOUND6 = 8,
	DEVICE_L3 = 16, /* frames have no Ethernet header (tunnels, WireGuard) */
};

/* Whether another dataplane serves this node as well: one of them has connections that the other does not know. */
enum stage {
	STAGE_ALONE = 0,
	STAGE_JOINING = 1, /* the other goes on with what it has: unknown segments within a connection, and FLOW_LEFT */
	STAGE_LEAVING = 2, /* the other has what is new: only known flows go on, nothing is judged or answered */
};

/* The programs, as they appear in drops and counters. */
enum hook {
	HOOK_XDP = 1,
	HOOK_UP_IN = 2,
	HOOK_UP_OUT = 3,
	HOOK_POD_IN = 4,
	HOOK_POD_OUT = 5,
	HOOK_SOCKET = 6, /* a process of the host names an address: connect or sendmsg */
};

/* What the address in a socket's entry is. */
enum socket_side {
	SOCKET_FRONTEND = 1, /* what its process sends to; the entry tells the backend */
	SOCKET_BACKEND = 2, /* what it really sends to and hears from; the entry tells the frontend */
};

enum policy_flag {
	POLICY_DENY_UNKNOWN = 1, /* of and for an address that is no known pod's nothing passes a pod's device */
	POLICY_KEEP_ESTABLISHED = 2, /* a flow that was allowed goes on whatever has changed since */
};

enum policy_class {
	CLASS_ANYONE = 0, /* in rules only */
	CLASS_NODE = 1, /* this node's own addresses: exempt from policy */
};

enum policy_set_flag {
	SET_REJECT = 1, /* what is denied is answered: TCP by RST, the rest by administratively prohibited */
};

/*
 * Why a packet ended here, or what was done with it. Append only, numbers are never reused.
 * The sentence beside each is what an operator reads: it is extracted into the CLI and docs/operations.md.
 */
enum reason {
	REASON_MALFORMED = 1, /* header truncated or inconsistent with the packet's length */
	REASON_EXTENSION_HEADERS = 2, /* more than 6 IPv6 extension headers */
	REASON_NO_ENDPOINT =
		3, /* the service has no endpoint anywhere, or the connection lost its own: refused with RST or port unreachable */
	REASON_NO_LOCAL_ENDPOINT = 4, /* the traffic policy is Local and this node has no endpoint */
	REASON_SPOOFED_SOURCE = 5, /* the source address does not belong to the device it came from */
	REASON_DSR_SOURCE = 6, /* tunnelled packet whose outer source is neither a node nor in --dsr-sources */
	REASON_DSR_FRONTEND = 7, /* tunnelled packet whose inner destination is no DSR frontend backed by this endpoint */
	REASON_TOO_BIG = 8, /* larger than the way to the backend allows: answered with the MTU that fits */
	REASON_SNAT_FULL = 9, /* no free port to translate the source to: new flow refused */
	REASON_FLOW_FULL = 10, /* the flow could not be recorded: new flow refused */
	REASON_NO_ROUTE = 11, /* the node has no route to the backend or to the client */
	REASON_TTL = 12, /* hop limit exhausted */
	REASON_FRAGMENT = 13, /* fragment to a frontend whose first fragment was not seen */
	REASON_INTERNAL = 14, /* a kernel helper failed where it cannot: a defect in Weir */
	REASON_SOURCE_RANGE = 15, /* the source is in none of the service's loadBalancerSourceRanges */
	REASON_UNKNOWN_PORT = 16, /* the address is a service's, the port is none of its ports: refused */
	REASON_UNALLOCATED = 17, /* the address is in --service-cidr and no service has it: refused */
	REASON_POLICY_INGRESS = 18, /* no ingress rule of the policies that isolate the pod allows it */
	REASON_POLICY_EGRESS = 19, /* no egress rule of the policies that isolate the pod allows it */
	REASON_UNKNOWN_ENDPOINT = 20, /* to or from an address at a pod's device that no known pod has (--default-deny-unknown) */
	REASON_FORWARDED_NAT = 64, /* translated and sent towards the backend */
	REASON_FORWARDED_DSR = 65, /* encapsulated and sent towards the backend's node */
	REASON_REPLY = 66, /* a backend's reply, given back the frontend's address */
	REASON_DECAPSULATED = 67, /* tunnelled packet opened and handed to its backend */
	REASON_ICMP_ERROR = 68, /* ICMP error about a balanced flow, translated and sent on */
	REASON_UNRECORDED = 69, /* forwarded by the hash alone, because new flows arrived too fast to record */
	REASON_ECHO = 70, /* ICMP echo to a service's address, answered */
	REASON_FORWARDED_L2 = 71, /* sent as it is to the backend's Ethernet address */
	REASON_AUDITED = 72, /* passed, but a policy that is only audited would have denied it */
	REASON_COUNT = 96,
};

struct frontend_key {
	struct ip address;
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

/*
 * One table of backend ids in the slots arena. For maglev, sh and dh: size slots. For rr and random: the first word of the first
 * chunk is the rotation counter, then size ids, each backend as often as it weighs. For lc: the place in the list after the last
 * choice, a word of padding, then size pairs of id and weight. Where the service has session affinity, the ids of all its
 * backends follow in ascending order.
 */
struct selection {
	__u32 chunk; /* first chunk: segment * WEIR_CHUNKS_PER_SEGMENT + index */
	__u32 size; /* number of slots, 0: no usable backend */
	__u32 backends; /* number of distinct backends in it */
};

struct frontend {
	__u32 service; /* id in weir_names */
	__u8 kind; /* enum frontend_kind */
	__u8 scheduler; /* enum scheduler */
	__u8 forwarding; /* enum forwarding */
	__u8 flags; /* enum frontend_flag */
	struct selection outside; /* for clients out there */
	struct selection inside; /* for clients on this node */
	struct selection tunnelled; /* DSR: of this node, for tunnels that name it and no pod */
	__u32 affinity; /* s for which a client keeps its backend, 0: no affinity */
};

struct backend {
	struct ip address;
	__be16 port;
	__u8 protocol;
	__u8 state; /* enum backend_state */
	__u32 service; /* id in weir_names */
	__u32 node; /* id in weir_names, 0: unknown */
	__u16 weight;
	__u8 flags; /* enum backend_flag */
	__u8 pad;
	__u32 until; /* s of CLOCK_MONOTONIC until which one that has left its service keeps its flows, 0: it has not */
};

/*
 * The live flows of a backend: those whose forward entry is in the tables and that no end has closed. The first two words change
 * together. The others belong to the sweep, which counts anew what the LRU tables have lost.
 */
struct load {
	__u32 flows;
	__u32 changes; /* counts what may change flows: before it, and with it */
	__u32 counted;
	__u32 changes_before; /* changes when the sweep began */
} __attribute__((aligned(8)));

/* What was sent to and from a backend by this node. */
struct traffic {
	__u64 packets; /* from clients */
	__u64 bytes;
	__u64 reply_packets;
	__u64 reply_bytes;
};

/* A client of a service with session affinity */
struct affinity_key {
	struct ip client;
	__u32 service; /* id in weir_names */
};

struct affinity {
	__u64 seen; /* kernel ticks, of its last new flow to the second */
	__u32 backend; /* id in weir_backends; counts only while the frontend's selection has it */
	__u32 pad;
};

/* Answers at a backend's node: does this address back that service, and on which port? */
struct local_key {
	struct ip address;
	__u32 service;
};

struct local_backend {
	__u32 backend;
	__be16 port;
	__u16 pad;
};

struct flow4_key {
	__be32 source;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 pad[3];
};

struct flow6_key {
	struct ip source;
	struct ip destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 pad[3];
};

/*
 * What becomes of the packets that match the key; see enum flow_kind for which end address and nat replace. What every packet
 * needs stands first, in the key's cache line or the next.
 */
struct flow {
	__u64 seen; /* kernel ticks (see config), renewed at most once a second */
	__u8 kind; /* enum flow_kind */
	__u8 state; /* enum flow_state */
	__u8 forwarding; /* enum forwarding */
	__u8 flags; /* enum flow_flag */
	__u32 backend; /* id in weir_backends when recorded */
	struct ip address; /* forward: the backend; replies: the frontend */
	__be16 port; /* belongs to address */
	__be16 nat_port; /* belongs to nat; with FLOW_PORT the client's replaced or restored port */
	__u32 service; /* id in weir_names */
	struct ip nat; /* forward: this node's address; snat reply: the client */
};

/* How to reach a backend's next hop; kept by the programs themselves, each word written at once. */
struct hop {
	__u64 where; /* bytes 0-5 the neighbour's MAC, bytes 6-7 index in weir_uplinks + 1, highest bit: it is a gateway; 0: unknown */
	__u64 until; /* kernel ticks */
};

struct device {
	__u8 role; /* enum device_role */
	__u8 flags; /* enum device_flag */
	__u16 uplink; /* index in weir_uplinks + 1, 0: none */
	struct ip pod4; /* DEVICE_BOUND4: an endpoint that lives behind it, by whose policies other addresses there are judged */
	struct ip pod6; /* DEVICE_BOUND6 */
};

struct uplink {
	__u32 ifindex;
	__u32 mtu;
	struct ip address4; /* source of what this node sends from here: encapsulation, SNAT */
	struct ip address6;
	__u8 mac[6];
	__u8 flags; /* enum device_flag */
	__u8 pad;
};

struct endpoint {
	__u32 ifindex; /* the device behind which the address lives, 0: not known yet */
	__u32 flags; /* enum backend_flag */
	__u32 pod; /* id in weir_names, 0: no pod that is known */
	__u32 ingress; /* id in weir_policysets, 0: not isolated */
	__u32 egress;
	__u32 audit_ingress; /* the same with the policies that are only audited, 0: there are none */
	__u32 audit_egress;
};

struct prefix_key {
	__u32 bits; /* prefix length, IPv4 counted from 96 */
	struct ip address;
};

/* Address ranges by whom they belong to: a service, or 0 for the cluster's pods. */
struct range_key {
	__u32 bits; /* prefix length, 32 for owner included, IPv4 counted from 128 */
	__u32 owner; /* id in weir_names, 0: sources that count as the cluster's */
	struct ip address;
};

/* What all fragments of one packet have in common. */
struct fragment_key {
	struct ip source;
	struct ip destination;
	__u32 id;
	__u8 protocol; /* IPv6: 0, there the rest identifies a packet (RFC 8200 section 4.5) */
	__u8 pad[3];
};

/* What only the first fragment tells. */
struct fragment_ports {
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 pad[3];
};

struct config {
	__u32 layout; /* hash of the generated layout */
	__u32 pid; /* the agent's */
	__u32 dataplane; /* 1: bpf, 2: ipvs */
	__u32 synced; /* 1: all that was read at start is in the kernel */
	__u64 generation; /* counts applied changes */
	__u64 last_sync; /* ms since 1970 */
	__u64 netns; /* inode of the agent's network namespace */
	__u32 flood_rate; /* new flows a second on one core above which hashed DSR flows are not recorded, 0: no limit */
	__u16 snat_first;
	__u16 snat_count;
	__u32 ticks_per_second; /* the kernel's tick, in which flows are timed */
	__u32 fast_path; /* 1: flows may be redirected past the node's stack */
	__u64 ticks; /* a moment in ticks, */
	__u64 ticks_time; /* and the same in ns of CLOCK_MONOTONIC */
	__u64 netns_cookie; /* of the agent's network namespace, whose sockets are translated */
	__u32 flags; /* enum config_flag */
	__be32 service4; /* --service-cidr: its first address and its mask */
	__be32 service4_mask;
	struct ip service6;
	struct ip service6_mask;
	__u32 pad;
	__u32 policy_epoch; /* counts changes of policy: what was admitted before is judged again. Never 0 */
	__u32 policy_flags; /* enum policy_flag */
	__u64 grace_until; /* ticks until which UDP that began before Weir came is admitted if either end may open it */
	__u64 stage_until; /* kernel ticks: when it ends; for programs while joining, for the agent always */
	__u32 stage; /* enum stage */
	__u32 pad2;
};

/* What the pods that the same policies isolate may do; the rules are in weir_policy. */
struct policy_set {
	__u32 classed; /* bit n: rules for a class compare n leading bits of the port; bit 17: some hold for any protocol */
	__u32 anyone; /* the same of rules for everybody */
	__u32 name; /* id in weir_names: the policies and the direction */
	__u32 flags; /* enum policy_set_flag */
};

/* A rule: this class of peers may open flows of this protocol to ports that begin like this one. */
struct policy_key {
	__u32 set;
	__u32 class; /* in weir_classes; CLASS_ANYONE: whoever it is */
	__be16 port; /* the peer's for egress, the pod's for ingress; the bits that do not count are zero */
	__u8 protocol; /* 0: any, ICMP included */
	__u8 bits; /* leading bits of port that count, 0: any port */
};

/*
 * An admitted flow, as the pods' side has it: services translated, the client itself in place of a masquerade. Both directions
 * share the entry: in its key the lower address is the source. ICMP echo has its identifier for the port of who asked.
 */
struct admitted {
	__u64 seen; /* kernel ticks, renewed at most once a second */
	__u32 egress; /* policy_epoch at which the end that began it was allowed to open it, 0: not judged */
	__u32 ingress; /* and at which the other end was allowed to be reached */
	__u32 egress_rule; /* id in weir_names of the rule that allows it, 0: not isolated */
	__u32 ingress_rule;
	__u32 lower_began; /* 1: the lower address began it */
	__u32 pad;
};

/* A packet at a pod's device as policy looks at it, while it does. */
struct matter {
	struct flow6_key tuple; /* as the pods' side has it: services translated, the client itself in place of a masquerade */
	struct flow6_key key; /* of the flow in the table of admitted ones */
	__u32 epoch;
	__u32 flags; /* enum policy_flag */
	__u32 ingress; /* the sets of the pod, as in struct endpoint */
	__u32 egress;
	__u32 audit_ingress;
	__u32 audit_egress;
	__u32 class; /* of the other end */
	__u32 audit; /* set that has yet to be asked about a flow that is new here, 0: none */
	__be16 port; /* on which the flow is opened */
	__u16 pad;
	__u8 leaving; /* 1: the pod sent it */
	__u8 ascending; /* 1: it goes from the lower to the higher address */
	__u8 in_grace; /* 1: of what is under way the beginning may not have been seen */
	__u8 pad2;
};

struct drop_key {
	struct ip source;
	struct ip destination;
	__be16 port; /* destination's */
	__u8 protocol;
	__u8 reason; /* enum reason */
	__u8 hook; /* enum hook */
	__u8 pad[3];
};

struct drop {
	__u64 count;
	__u64 first; /* ns of CLOCK_MONOTONIC */
	__u64 last;
	__u32 ifindex;
	__u32 rule; /* id in weir_names of what decided, 0: none */
};

struct counter {
	__u64 packets;
	__u64 bytes;
};

struct rate {
	__u64 since; /* kernel ticks, start of the second */
	__u64 flows;
};

/* One end of what a socket of the host does through a frontend. */
struct socket_key {
	__u64 cookie;
	struct ip address;
	__be16 port;
	__u8 protocol;
	__u8 side; /* enum socket_side: which end address and port are */
	__u32 pad;
};

/* The other end. */
struct socket_peer {
	struct ip address;
	__be16 port;
	__u16 pad;
	__u32 backend; /* id in weir_backends when recorded */
	__u32 service; /* id in weir_names */
};

/* A kernel setting that the agent has changed, below /proc/sys */
struct sysctl_key {
	char path[96];
};

struct sysctl {
	char before[16];
	char value[16];
};

/* HOST:PORT of the API server that answered last: where to look for it when names and ClusterIPs do not resolve */
struct api {
	char address[64];
};

/* kind namespace/name[/rule] of the object that an id stands for */
struct name {
	char text[WEIR_NAME_LENGTH];
};

_Static_assert(sizeof(struct frontend_key) == 20, "frontend_key");
_Static_assert(sizeof(struct frontend) == 48, "frontend");
_Static_assert(sizeof(struct backend) == 36, "backend");
_Static_assert(sizeof(struct flow4_key) == 16, "flow4_key");
_Static_assert(sizeof(struct flow6_key) == 40, "flow6_key");
_Static_assert(sizeof(struct flow) == 56, "flow");
_Static_assert(sizeof(struct drop_key) == 40, "drop_key");
_Static_assert(sizeof(struct socket_key) == 32, "socket_key");
_Static_assert(sizeof(struct policy_key) == 12, "policy_key");
_Static_assert(sizeof(struct admitted) == 32, "admitted");

#endif
