/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Processes of the host that speak to services. What they send passes no device's ingress: the address is translated where the
 * process names it, before there is a packet, and the backend's is given back as the frontend's where the process asks who
 * spoke. Attached to a cgroup; acts on sockets of the agent's own network namespace alone, pods have their devices.
 */
#include <asm/errno.h>
#include "affinity.h"
#include "config.h"
#include "count.h"
#include "frontend.h"
#include "takeover.h"

/* What these hooks want to be answered. */
enum verdict {
	SOCKET_REFUSED = 0, /* the call fails */
	SOCKET_GOES_ON = 1,
};

/* To whom a datagram of a socket goes: each time whoever is chosen, or the same as last time. */
enum constancy {
	CHOOSE_ANEW,
	CHOOSE_ONCE,
};

static __always_inline bool is_ours(struct bpf_sock_addr *ctx)
{
	struct config *config = config_get();

	return config && config->netns_cookie && config->netns_cookie == bpf_get_netns_cookie(ctx);
}

static __always_inline void read_v6(struct bpf_sock_addr *ctx, struct ip *address)
{
	__u32 *w = (__u32 *)address;

	w[0] = ctx->user_ip6[0];
	w[1] = ctx->user_ip6[1];
	w[2] = ctx->user_ip6[2];
	w[3] = ctx->user_ip6[3];
}

static __always_inline void write_v6(struct bpf_sock_addr *ctx, const struct ip *address)
{
	const __u32 *w = (const __u32 *)address;

	ctx->user_ip6[0] = w[0];
	ctx->user_ip6[1] = w[1];
	ctx->user_ip6[2] = w[2];
	ctx->user_ip6[3] = w[3];
}

/* IPv4, spoken by an IPv6 socket or not: an address is the same in the maps either way. */
static __always_inline bool is_mapped(const struct ip *address)
{
	const __u32 *w = (const __u32 *)address;

	return (w[0] | w[1] | (w[2] ^ bpf_htonl(0xffff))) == 0; /* one branch: the verifier follows every one */
}

static __always_inline bool is_loopback(const struct packet *p)
{
	const __u32 *w = (const __u32 *)&p->tuple.destination;

	if (p->family == FAMILY_V4)
		return p->tuple.destination.b[12] == 127;
	return (w[0] | w[1] | w[2] | (w[3] ^ bpf_htonl(1))) == 0;
}

/*
 * The first packet of this socket, for those who judge packets. The client is the host itself, whatever source address it will
 * get, and the cookie stands for its port, so that sockets are spread as clients' connections are.
 */
static __always_inline void describe(struct bpf_sock_addr *ctx, struct packet *p, __u64 cookie)
{
	p->tuple.destination_port = ctx->user_port;
	p->tuple.protocol = ctx->protocol;
	p->tuple.source_port = cookie ^ cookie >> 16 ^ cookie >> 32;
	p->family = is_mapped(&p->tuple.destination) ? FAMILY_V4 : FAMILY_V6;
	p->hook = HOOK_SOCKET;
	p->now = bpf_jiffies64();
}

static __always_inline long refuse(struct packet *p, enum reason reason, int error)
{
	p->reason = reason;
	account(p, STEP_DROP);
	bpf_set_retval(error);
	return SOCKET_REFUSED;
}

/* The backend that this socket's datagrams to the frontend went to before, while it takes any. */
static __always_inline struct backend *backend_before(const struct socket_key *frontend, __u32 *id)
{
	struct socket_peer *before = bpf_map_lookup_elem(&weir_sockets, frontend);
	struct backend *backend;

	if (!before)
		return NULL;
	*id = before->backend;
	backend = bpf_map_lookup_elem(&weir_backends, id);
	if (!backend || backend->state != BACKEND_ACTIVE || backend->port != before->port ||
	    !ip_equal(&backend->address, &before->address))
		return NULL;
	return backend;
}

/* Writes only what is news: most datagrams of a socket are like the one before. */
static __always_inline bool remember(const struct socket_key *key, const struct socket_peer *peer)
{
	struct socket_peer *known = bpf_map_lookup_elem(&weir_sockets, key);

	if (known && known->backend == peer->backend && known->port == peer->port && ip_equal(&known->address, &peer->address))
		return true;
	return bpf_map_update_elem(&weir_sockets, key, peer, BPF_ANY) == 0;
}

/* As a packet's backend is chosen. Its flow counts for nobody's load: when it ends is not seen. */
static __always_inline __u32 choose(const struct packet *p, const struct frontend *frontend)
{
	const struct selection *from = &frontend->inside;
	__u32 id = frontend->affinity ? affinity_find(p, frontend, from) : 0;

	if (!id)
		id = is_hashed(frontend->scheduler) ? select_hashed(p, frontend, from)
						    : select_backend(frontend->scheduler, from);
	if (frontend->affinity && id)
		affinity_keep(p, frontend->service, id);
	return id;
}

/* Puts the backend in place of a frontend. Two frontends with the same backend are one to its answers: the later counts. */
static __noinline long translate(struct bpf_sock_addr *ctx, struct packet *p, enum constancy constancy)
{
	struct socket_key key = {
		.cookie = bpf_get_socket_cookie(ctx),
		.address = p->tuple.destination,
		.port = ctx->user_port,
		.protocol = ctx->protocol,
		.side = SOCKET_FRONTEND,
	};
	struct socket_peer peer = {};
	struct backend *backend = NULL;
	struct frontend *frontend;
	__u32 id = 0;

	describe(ctx, p, key.cookie);
	frontend = frontend_find(p);
	if (!frontend && is_loopback(p))
		frontend = frontend_of_node_port(p);
	if (!frontend || is_leaving())
		return SOCKET_GOES_ON;
	if (!frontend->inside.size)
		return frontend->flags & FRONTEND_EXISTS ? refuse(p, REASON_NO_LOCAL_ENDPOINT, -EHOSTUNREACH)
							 : refuse(p, REASON_NO_ENDPOINT, -ECONNREFUSED);
	if (constancy == CHOOSE_ONCE)
		backend = backend_before(&key, &id);
	if (!backend) {
		id = choose(p, frontend);
		backend = bpf_map_lookup_elem(&weir_backends, &id);
	}
	if (!backend)
		return refuse(p, REASON_INTERNAL, -EHOSTUNREACH);
	peer.backend = id;
	peer.service = frontend->service;
	if (constancy == CHOOSE_ONCE) {
		peer.address = backend->address;
		peer.port = backend->port;
		remember(&key, &peer);
	}
	peer.address = key.address;
	peer.port = key.port;
	key.address = backend->address;
	key.port = backend->port;
	key.side = SOCKET_BACKEND;
	if (!remember(&key, &peer))
		return refuse(p, REASON_FLOW_FULL, -EHOSTUNREACH);
	p->tuple.destination = backend->address;
	p->tuple.destination_port = backend->port;
	return SOCKET_GOES_ON;
}

static __always_inline int send_v4(struct bpf_sock_addr *ctx, enum constancy constancy)
{
	struct packet p = {};

	if (!is_ours(ctx))
		return SOCKET_GOES_ON;
	ip_set_v4(&p.tuple.destination, ctx->user_ip4);
	if (translate(ctx, &p, constancy) == SOCKET_REFUSED)
		return SOCKET_REFUSED;
	ctx->user_ip4 = ip_v4(&p.tuple.destination);
	ctx->user_port = p.tuple.destination_port;
	return SOCKET_GOES_ON;
}

static __always_inline int send_v6(struct bpf_sock_addr *ctx, enum constancy constancy)
{
	struct packet p = {};

	if (!is_ours(ctx))
		return SOCKET_GOES_ON;
	read_v6(ctx, &p.tuple.destination);
	if (translate(ctx, &p, constancy) == SOCKET_REFUSED)
		return SOCKET_REFUSED;
	write_v6(ctx, &p.tuple.destination);
	ctx->user_port = p.tuple.destination_port;
	return SOCKET_GOES_ON;
}

/* What the socket knows the other end as, NULL where that is its own address. */
static __noinline struct socket_peer *known_as(struct bpf_sock_addr *ctx, struct ip *address)
{
	struct socket_key key = {
		.cookie = bpf_get_socket_cookie(ctx),
		.address = *address,
		.port = ctx->user_port,
		.protocol = ctx->protocol,
		.side = SOCKET_BACKEND,
	};

	return bpf_map_lookup_elem(&weir_sockets, &key);
}

static __always_inline int name_v4(struct bpf_sock_addr *ctx)
{
	struct socket_peer *frontend;
	struct ip address;

	if (!is_ours(ctx))
		return SOCKET_GOES_ON;
	ip_set_v4(&address, ctx->user_ip4);
	frontend = known_as(ctx, &address);
	if (frontend) {
		ctx->user_ip4 = ip_v4(&frontend->address);
		ctx->user_port = frontend->port;
	}
	return SOCKET_GOES_ON;
}

static __always_inline int name_v6(struct bpf_sock_addr *ctx)
{
	struct socket_peer *frontend;
	struct ip address;

	if (!is_ours(ctx))
		return SOCKET_GOES_ON;
	read_v6(ctx, &address);
	frontend = known_as(ctx, &address);
	if (frontend) {
		write_v6(ctx, &frontend->address);
		ctx->user_port = frontend->port;
	}
	return SOCKET_GOES_ON;
}

SEC("cgroup/connect4")
int weir_connect4(struct bpf_sock_addr *ctx)
{
	return send_v4(ctx, CHOOSE_ANEW);
}

SEC("cgroup/connect6")
int weir_connect6(struct bpf_sock_addr *ctx)
{
	return send_v6(ctx, CHOOSE_ANEW);
}

SEC("cgroup/sendmsg4")
int weir_sendmsg4(struct bpf_sock_addr *ctx)
{
	return send_v4(ctx, CHOOSE_ONCE);
}

SEC("cgroup/sendmsg6")
int weir_sendmsg6(struct bpf_sock_addr *ctx)
{
	return send_v6(ctx, CHOOSE_ONCE);
}

SEC("cgroup/recvmsg4")
int weir_recvmsg4(struct bpf_sock_addr *ctx)
{
	return name_v4(ctx);
}

SEC("cgroup/recvmsg6")
int weir_recvmsg6(struct bpf_sock_addr *ctx)
{
	return name_v6(ctx);
}

SEC("cgroup/getpeername4")
int weir_getpeer4(struct bpf_sock_addr *ctx)
{
	return name_v4(ctx);
}

SEC("cgroup/getpeername6")
int weir_getpeer6(struct bpf_sock_addr *ctx)
{
	return name_v6(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
