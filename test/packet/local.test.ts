/** Backends on this node, and clients that are pods of it: only the destination is replaced, and given back facing the client. */
import { formatSocket, type Ip } from '../../src/core/net.js';
import { ticksPerSecond } from '../../src/loader/clock.js';
import { encodeOne } from '../../src/maps/codec.js';
import { type Flow, FLOW_KIND } from '../../src/maps/layout.js';
import type { Table } from '../../src/maps/table.js';
import { happened, passedUntouched, sourcePort } from './expect.js';
import { type End, type Packet, sctp, tcp, udp } from './frames.js';
import type { DeviceName } from './network.js';
import type { Program, World } from './harness.js';
import { end, type Roster, V4 } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const FORWARDED = { 'forwarded-nat': 1 };
const REPLIED = { reply: 1 };

/** How flows go on: redirected from device to device, or through the node's stack. */
const WAYS = [
  { way: 'past the stack', fastPath: 1, verdict: 'TC_ACT_REDIRECT', hop: (packet: Packet) => packet.routed() },
  { way: 'through the stack', fastPath: 0, verdict: 'TC_ACT_OK', hop: (packet: Packet) => packet },
] as const;

const TRANSPORTS = [
  { protocol: 'TCP', make: (from: End, to: End) => tcp(from, to, 'SYN') },
  { protocol: 'UDP', make: (from: End, to: End) => udp(from, to) },
  { protocol: 'SCTP', make: (from: End, to: End) => sctp(from, to) },
] as const;

interface Target {
  readonly where: string;
  readonly backend: (r: Roster) => Ip;
  /** The device that the request leaves by and the reply comes from, and the program at its egress. */
  readonly device: DeviceName;
  readonly egress: Program;
}

const TARGETS: readonly Target[] = [
  { where: 'a pod of this node', backend: (r) => r.pod2, device: 'pod2', egress: 'weir_pod_out' },
  { where: 'a pod of another node', backend: (r) => r.remote[0], device: 'up0', egress: 'weir_up_out' },
];

for (const { way, fastPath, verdict, hop } of WAYS) {
  for (const { protocol, make } of TRANSPORTS) {
    both(`a ${protocol} client out there reaches a pod here under its own address, ${way}`, (t, world, r) => {
      world.configure({ fastPath });
      world.serve({ frontends: [r.vip], endpoints: [r.pod1], protocol });
      const [client, vip, pod] = [end(r.client, 40000), end(r.vip, 80), end(r.pod1, 8080)];
      const request = make(client, vip);
      const there = world.run('weir_up_in', request);
      happened(t, there, { verdict, packet: hop(request.to(pod)), counters: FORWARDED });
      t.deepEqual(
        there.flows.map(({ kind }) => kind),
        ['FORWARD', 'REPLY'],
      );
      passedUntouched(t, world.run('weir_pod_out', hop(request.to(pod)), 'pod1'), hop(request.to(pod)));

      const reply = make(pod, client);
      happened(t, world.run('weir_pod_in', reply, 'pod1'), { verdict, packet: hop(reply) });
      const back = world.run('weir_up_out', hop(reply));
      happened(t, back, { verdict: 'TC_ACT_OK', packet: hop(reply).from(vip), counters: REPLIED });
    });

    for (const { where, backend, device, egress } of TARGETS) {
      both(`a ${protocol} client in a pod reaches ${where} and sees the service's address, ${way}`, (t, world, r) => {
        world.configure({ fastPath });
        world.serve({ frontends: [r.clusterIp], kind: 'ClusterIP', endpoints: [backend(r)], protocol });
        const [client, vip, target] = [end(r.pod1, 40000), end(r.clusterIp, 80), end(backend(r), 8080)];
        const request = make(client, vip);
        const there = world.run('weir_pod_in', request, 'pod1');
        happened(t, there, { verdict, packet: hop(request.to(target)), counters: FORWARDED });
        passedUntouched(t, world.run(egress, hop(request.to(target)), device), hop(request.to(target)));

        const reply = make(target, client);
        const ingress = device === 'up0' ? 'weir_up_in' : 'weir_pod_in';
        happened(t, world.run(ingress, reply, device), { verdict, packet: hop(reply) });
        const back = world.run('weir_pod_out', hop(reply), 'pod1');
        happened(t, back, { verdict: 'TC_ACT_OK', packet: hop(reply).from(vip), counters: REPLIED });
      });
    }
  }

  both(`a pod that reaches itself through a service sees the service's address, ${way}`, (t, world, r) => {
    world.configure({ fastPath });
    world.serve({ frontends: [r.clusterIp], kind: 'ClusterIP', endpoints: [r.pod1] });
    const [client, vip, self] = [end(r.pod1, 40000), end(r.clusterIp, 80), end(r.pod1, 8080)];
    const request = tcp(client, vip, 'SYN');
    const there = world.run('weir_pod_in', request, 'pod1');
    const node = end(r.node, sourcePort(there));
    t.true(node.port >= 61000);
    const arriving = request.from(node).to(self).routed();
    happened(t, there, { verdict: 'TC_ACT_REDIRECT', packet: arriving, counters: FORWARDED });
    passedUntouched(t, world.run('weir_pod_out', arriving, 'pod1'), arriving);

    const reply = tcp(self, node, 'SYN', 'ACK');
    const back = world.run('weir_pod_in', reply, 'pod1');
    happened(t, back, { verdict: 'TC_ACT_REDIRECT', packet: reply.from(vip).to(client).routed(), counters: REPLIED });
    const last = reply.from(vip).to(client).routed();
    passedUntouched(t, world.run('weir_pod_out', last, 'pod1'), last);
  });
}

both("XDP records a pod's flow and leaves the packet to TC, which finds it", (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
  const request = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
  const first = world.run('weir_xdp', request);
  passedUntouched(t, first, request);
  t.is(first.flows.length, 2);
  const second = world.run('weir_up_in', request);
  const packet = request.to(end(r.pod1, 8080)).routed();
  happened(t, second, { verdict: 'TC_ACT_REDIRECT', packet, counters: FORWARDED });
  t.deepEqual(second.flows, []);
});

both('an endpoint on the host network is reached through the stack, and its reply too', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.node] });
  const [client, vip, host] = [end(r.client, 40000), end(r.vip, 80), end(r.node, 8080)];
  const request = tcp(client, vip, 'SYN');
  const there = world.run('weir_up_in', request);
  happened(t, there, { verdict: 'TC_ACT_OK', packet: request.to(host), counters: FORWARDED });
  const reply = tcp(host, client, 'SYN', 'ACK');
  happened(t, world.run('weir_up_out', reply), { verdict: 'TC_ACT_OK', packet: reply.from(vip), counters: REPLIED });

  const fromPod = tcp(end(r.pod1, 40000), vip, 'SYN');
  const packet = fromPod.to(host);
  happened(t, world.run('weir_pod_in', fromPod, 'pod1'), { verdict: 'TC_ACT_OK', packet, counters: FORWARDED });
  const toPod = tcp(host, end(r.pod1, 40000), 'SYN', 'ACK');
  const answer = world.run('weir_pod_out', toPod, 'pod1');
  happened(t, answer, { verdict: 'TC_ACT_OK', packet: toPod.from(vip), counters: REPLIED });
});

both('a pod client is translated where the service goes around it for others (DSR)', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], forwarding: 'dsr' });
  const request = tcp(end(r.pod1, 40000), end(r.vip, 80), 'SYN');
  const packet = request.to(end(r.remote[0], 8080)).routed();
  const outcome = world.run('weir_pod_in', request, 'pod1');
  happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', packet, counters: FORWARDED });
});

both(
  'one client port through two services to one pod: the second gets another port, and both connections work',
  (t, world, r) => {
    serveTwice(world, r);
    const [client, pod] = [end(r.client, 40000), end(r.pod1, 8080)];
    const [first, second] = [tcp(client, end(r.vip, 80), 'SYN'), tcp(client, end(r.otherVip, 80), 'SYN')];
    const there = world.run('weir_up_in', first);
    happened(t, there, { verdict: 'TC_ACT_REDIRECT', packet: first.to(pod).routed(), counters: FORWARDED });
    const other = world.run('weir_up_in', second);
    const port = sourcePort(other);
    t.not(port, client.port);
    t.true(port >= 1024);
    const moved = end(r.client, port);
    happened(t, other, {
      verdict: 'TC_ACT_REDIRECT',
      packet: second.from(moved).to(pod).routed(),
      counters: FORWARDED,
    });

    const [toFirst, toSecond] = [tcp(pod, client, 'SYN', 'ACK'), tcp(pod, moved, 'SYN', 'ACK')];
    const expected = { verdict: 'TC_ACT_OK', counters: REPLIED };
    happened(t, world.run('weir_up_out', toFirst), { ...expected, packet: toFirst.from(end(r.vip, 80)) });
    happened(t, world.run('weir_up_out', toSecond), {
      ...expected,
      packet: toSecond.from(end(r.otherVip, 80)).to(client),
    });

    const more = world.run('weir_up_in', second.flags('ACK'));
    const packet = second.flags('ACK').from(moved).to(pod).routed();
    happened(t, more, { verdict: 'TC_ACT_REDIRECT', packet, counters: FORWARDED });
  },
);

both('a connection with a replaced port is not disturbed by the one that really has it', (t, world, r) => {
  serveTwice(world, r);
  const [client, pod] = [end(r.client, 40000), end(r.pod1, 8080)];
  world.run('weir_up_in', tcp(client, end(r.vip, 80), 'SYN'));
  const moved = end(r.client, sourcePort(world.run('weir_up_in', tcp(client, end(r.otherVip, 80), 'SYN'))));
  const real = tcp(moved, end(r.otherVip, 80), 'SYN');
  const third = world.run('weir_up_in', real);
  t.not(sourcePort(third), moved.port);
  const reply = tcp(pod, moved, 'SYN', 'ACK');
  const back = world.run('weir_up_out', reply);
  happened(t, back, { verdict: 'TC_ACT_OK', packet: reply.from(end(r.otherVip, 80)).to(client), counters: REPLIED });
});

both('a client port that is used again after its flow has ended begins a new flow', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
  const syn = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
  for (const packet of [syn, syn.flags('RST'), syn])
    t.deepEqual(world.run('weir_up_in', packet).counters, FORWARDED, packet === syn ? 'SYN' : 'RST');
  t.deepEqual(
    world.seen.flows().map(({ kind, state }) => `${kind} ${state}`),
    ['FORWARD NEW', 'REPLY NEW'],
  );
});

both('a connection keeps its replaced port when the kernel has forgotten its way back', (t, world, r) => {
  serveTwice(world, r);
  const [client, pod] = [end(r.client, 40000), end(r.pod1, 8080)];
  world.run('weir_up_in', tcp(client, end(r.vip, 80), 'SYN'));
  const second = tcp(client, end(r.otherVip, 80), 'SYN');
  const moved = end(r.client, sourcePort(world.run('weir_up_in', second)));
  const old = BigInt(2 * ticksPerSecond());
  world.seen.age((flow) => (flow.kind === FLOW_KIND.REPLY ? undefined : { ...flow, seen: flow.seen - old }));
  const next = second.flags('ACK');
  const outcome = world.run('weir_up_in', next);
  happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', packet: next.from(moved).to(pod).routed(), counters: FORWARDED });
  t.like(outcome.flows[0], {
    kind: 'REPLY',
    key: `TCP ${formatSocket(pod.ip, 8080)} > ${formatSocket(moved.ip, moved.port)}`,
  });
  const reply = tcp(pod, moved, 'ACK');
  const packet = reply.from(end(r.otherVip, 80)).to(client);
  happened(t, world.run('weir_up_out', reply), { verdict: 'TC_ACT_OK', packet, counters: REPLIED });
});

both('a client whose every port is taken at a pod, by its other connections there, is refused', (t, world, r) => {
  serveTwice(world, r);
  const client = end(r.client, 40000);
  world.run('weir_up_in', tcp(client, end(r.vip, 80), 'SYN'));
  const table = (r === V4 ? world.seen.tables.weir_flows4 : world.seen.tables.weir_flows6) as unknown as Table<
    Ports,
    Flow
  >;
  const [key, flow] = [...table.entries()].find(([, { kind }]) => kind === FLOW_KIND.REPLY) ?? [];
  if (!key || !flow) return t.fail('no way back');
  const value = encodeOne(table.layout.value, flow);
  const ports = Array.from({ length: 0x10000 }, (_, destinationPort) => ({ ...key, destinationPort }));
  table.putEncoded(ports.map((port) => ({ key: encodeOne(table.layout.key, port), value })));
  const outcome = world.run('weir_up_in', tcp(client, end(r.otherVip, 80), 'SYN'));
  happened(t, outcome, { verdict: 'TC_ACT_SHOT', counters: { 'flow-full': 1 }, drops: ['flow-full'] });
});

interface Ports {
  readonly destinationPort: number;
}

both('what a pod sends to nobody in particular leaves it untouched', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod2] });
  const packets = [
    tcp(end(r.pod1, 40000), end(r.client, 80), 'SYN'),
    udp(end(r.pod1, 40000), end(r.otherVip, 80)),
    tcp(end(r.pod1, 8080), end(r.client, 40000), 'ACK'),
  ];
  for (const packet of packets) {
    passedUntouched(t, world.run('weir_pod_in', packet, 'pod1'), packet);
    passedUntouched(t, world.run('weir_up_out', packet, 'up0'), packet);
    passedUntouched(t, world.run('weir_pod_out', packet, 'pod2'), packet);
  }
});

both("a device's own sum over the whole packet stays right on all ways", (t, world, r) => {
  for (const { fastPath, verdict } of WAYS) {
    world.configure({ fastPath });
    for (const { protocol, make } of TRANSPORTS) {
      world.seen.forget();
      world.serve({ frontends: [r.vip], endpoints: [r.pod1], protocol });
      t.is(world.runSummed('weir_up_in', make(end(r.client, 40000), end(r.vip, 80))).verdict, verdict);
      const reply = make(end(r.pod1, 8080), end(r.client, 40000));
      t.is(world.runSummed('weir_pod_in', reply, 'pod1').verdict, verdict);
      t.is(world.runSummed('weir_up_out', reply).verdict, 'TC_ACT_OK');
    }
  }
});

both('a UDP datagram without a checksum keeps the sum over the whole packet right', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], protocol: 'UDP' });
  const packet = udp(end(r.client, 40000), end(r.vip, 80)).withoutChecksum();
  t.is(world.runSummed('weir_up_in', packet).verdict, 'TC_ACT_REDIRECT');
});

function serveTwice(world: World, r: Roster): void {
  world.serve(
    { frontends: [r.vip], endpoints: [r.pod1] },
    { name: 'other', frontends: [r.otherVip], endpoints: [r.pod1] },
  );
}
