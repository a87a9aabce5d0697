/** Fragments: what the first one tells counts for all, at every hook and in both directions. */
import { STAGE } from '../../src/maps/layout.js';
import { happened } from './expect.js';
import { icmp, other, type Packet, tunnelled, udp } from './frames.js';
import type { Program, World } from './harness.js';
import type { DeviceName } from './network.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const UDP = { protocol: 'UDP' } as const;
const SIZE = 1400;
const FAST = { name: 'past the stack', fastPath: 1, verdict: 'TC_ACT_REDIRECT' } as const;
const STACK = { name: 'through the stack', fastPath: 0, verdict: 'TC_ACT_OK' } as const;

/** A datagram in three fragments, of which the later ones begin like datagrams themselves. */
function pieces(whole: Packet): [Packet, Packet, Packet] {
  const first = whole.data(Buffer.alloc(SIZE - 8, 'a')).fragment(0, true);
  const [from, to] = [whole.source.ip, whole.destination.ip];
  const later = (offset: number, more: boolean): Packet =>
    other(from, to, whole.protocol, Buffer.alloc(more ? SIZE : 700, 'b')).fragment(offset / 8, more);
  return [first, later(SIZE, true), later(2 * SIZE, false)];
}

/** The same fragment between other ends. */
const moved = (packet: Packet, from: Packet['source'], to: Packet['source']): Packet => packet.from(from).to(to);

/** What a hook made of every fragment: they only differ in what the first one alone carries. */
function each(
  world: World,
  program: Program,
  fragments: readonly Packet[],
  device: DeviceName,
  see: (outcome: ReturnType<World['run']>, fragment: Packet) => void,
): void {
  for (const fragment of fragments) see(world.run(program, fragment, device), fragment);
}

for (const way of [FAST, STACK]) {
  both(`a fragmented datagram reaches a local pod and its answer comes back, ${way.name}`, (t, world, r) => {
    world.configure({ fastPath: way.fastPath });
    world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...UDP });
    const [client, vip, pod] = [end(r.client, 40000), end(r.vip, 80), end(r.pod1, 8080)];
    const hop = (packet: Packet): Packet => (way.fastPath ? packet.routed() : packet);
    each(world, 'weir_up_in', pieces(udp(client, vip)), 'up0', (outcome, fragment) => {
      const packet = hop(moved(fragment, client, pod));
      happened(t, outcome, { verdict: way.verdict, packet, counters: { 'forwarded-nat': 1 } });
    });
    const answer = pieces(udp(pod, client));
    each(world, 'weir_pod_in', answer, 'pod1', (outcome, fragment) =>
      happened(t, outcome, { verdict: way.verdict, packet: hop(fragment) }),
    );
    each(world, 'weir_up_out', answer, 'up0', (outcome, fragment) => {
      const packet = moved(fragment, vip, client);
      happened(t, outcome, { verdict: 'TC_ACT_OK', packet, counters: { reply: 1 } });
    });
  });

  both(`a pod's fragmented datagram reaches another pod and the answer comes back, ${way.name}`, (t, world, r) => {
    world.configure({ fastPath: way.fastPath });
    world.serve({ frontends: [r.clusterIp], kind: 'ClusterIP', endpoints: [r.pod2], ...UDP });
    const [client, vip, pod] = [end(r.pod1, 40000), end(r.clusterIp, 80), end(r.pod2, 8080)];
    each(world, 'weir_pod_in', pieces(udp(client, vip)), 'pod1', (outcome) => t.is(outcome.verdict, way.verdict));
    each(world, 'weir_pod_out', pieces(udp(pod, client)), 'pod1', (outcome, fragment) => {
      const packet = moved(fragment, vip, client);
      happened(t, outcome, { verdict: 'TC_ACT_OK', packet, counters: { reply: 1 } });
    });
  });
}

both('a fragmented datagram is translated to a backend on another node and back', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...UDP });
  const [client, vip, backend] = [end(r.client, 40000), end(r.vip, 80), end(r.remote[0], 8080)];
  const question = pieces(udp(client, vip));
  const [opened] = world.run('weir_up_in', question[0]).flows.filter(({ table }) => table === 'snat');
  const snat = end(r.node, Number(opened?.key.split(':').at(-1)));
  each(world, 'weir_up_in', question, 'up0', (outcome, fragment) => {
    const packet = moved(fragment, snat, backend).routed();
    happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', packet, counters: { 'forwarded-nat': 1 } });
  });
  each(world, 'weir_up_in', pieces(udp(backend, snat)), 'up0', (outcome, fragment) => {
    const packet = moved(fragment, vip, client).routed();
    happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', packet, counters: { reply: 1 } });
  });
});

both('a fragmented datagram goes through the tunnel piece by piece, and its backend gets it', (t, world, r) => {
  const dsr = { frontends: [r.vip], ...UDP, forwarding: 'dsr' } as const;
  world.serve({ ...dsr, endpoints: [r.remote[0]] });
  const [client, vip, pod] = [end(r.client, 40000), end(r.vip, 80), end(r.pod1, 8080)];
  const question = pieces(udp(client, vip));
  each(world, 'weir_up_in', question, 'up0', (outcome, fragment) => {
    const packet = tunnelled(r.node, r.remote[0], fragment).identification(0);
    happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', packet, counters: { 'forwarded-dsr': 1 } });
  });
  world.serve({ ...dsr, endpoints: [r.pod1] });
  world.seen.forget();
  const arrives = (end: Roster['pod1']): void => {
    const inTunnel = question.map((fragment) => tunnelled(r.node2, end, fragment));
    each(world, 'weir_up_in', inTunnel, 'up0', (outcome) => {
      t.like(outcome, { verdict: 'TC_ACT_REDIRECT', counters: { decapsulated: 1 } });
      t.like(outcome.packet['ip'], { source: client.ip, destination: pod.ip });
    });
  };
  arrives(r.pod1);
  world.configure({ stage: STAGE.LEAVING });
  arrives(r.pod1);
  world.configure({});
  world.seen.forget();
  arrives(r.node);
});

both('a later fragment whose first was not seen is dropped', (t, world, r) => {
  const expected = { verdict: 'TC_ACT_SHOT', counters: { fragment: 1 }, drops: ['fragment'] };
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...UDP, forwarding: 'dsr' });
  const [, later] = pieces(udp(end(r.client, 40000), end(r.vip, 80)));
  happened(t, world.run('weir_up_in', later), expected);
  happened(t, world.run('weir_up_in', tunnelled(r.node2, r.pod1, later)), expected);
  const [, fromPod] = pieces(udp(end(r.pod1, 40000), end(r.vip, 80)));
  happened(t, world.run('weir_pod_in', fromPod, 'pod1'), expected);
});

both('fragments of another packet, and those for nobody, are told apart', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...UDP });
  const [first] = pieces(udp(end(r.client, 40000), end(r.vip, 80)));
  world.run('weir_up_in', first);
  const [, stranger] = pieces(udp(end(r.otherClient, 40000), end(r.vip, 80)));
  t.deepEqual(world.run('weir_up_in', stranger).counters, { fragment: 1 });
  for (const fragment of pieces(udp(end(r.client, 40000), end(r.otherVip, 80)))) {
    happened(t, world.run('weir_up_in', fragment), { verdict: 'TC_ACT_OK', untouched: fragment });
  }
});

both('fragments to a port that the service does not have: the first is answered, the rest end there', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...UDP });
  const verdicts = pieces(udp(end(r.client, 40000), end(r.vip, 81))).map((piece) => world.run('weir_up_in', piece));
  t.deepEqual(
    verdicts.map(({ verdict, counters }) => [verdict, counters]),
    ['TC_ACT_REDIRECT', 'TC_ACT_SHOT', 'TC_ACT_SHOT'].map((verdict) => [verdict, { 'unknown-port': 1 }]),
  );
});

both('fragments too large for the tunnel: the first is answered, the rest end there', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...UDP, forwarding: 'dsr' });
  const size = r.family === 'IPv4' ? 1472 : 1440;
  const first = udp(end(r.client, 40000), end(r.vip, 80), 'x'.repeat(size - 8)).fragment(0, true);
  const later = other(r.client, r.vip, 17, 'x'.repeat(size)).fragment(size / 8, true);
  t.like(world.run('weir_up_in', first), { verdict: 'TC_ACT_REDIRECT', counters: { 'too-big': 1 } });
  t.like(world.run('weir_up_in', later), { verdict: 'TC_ACT_SHOT', counters: { 'too-big': 1 } });
});

both('a ping in fragments is answered fragment by fragment', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
  const [request, reply] = r.family === 'IPv4' ? [8, 0] : [128, 129];
  const all = (from: Roster['client'], to: Roster['client'], type: number): Packet[] => {
    const message = icmp(from, to, type, 0, 7).data(Buffer.alloc(SIZE, 'p'));
    const body = message.network().subarray(r.headerSize);
    return [
      icmp(from, to, type, 0, 7)
        .data(body.subarray(8, SIZE))
        .fragment(0, true)
        .patched(r.headerSize + (r.family === 'IPv4' ? 2 : 10), body[2]!, body[3]!),
      other(from, to, message.protocol, body.subarray(SIZE)).fragment(SIZE / 8, false),
    ];
  };
  const answers = all(r.vip, r.client, reply);
  all(r.client, r.vip, request).forEach((fragment, i) => {
    const outcome = world.run('weir_up_in', fragment);
    t.like(outcome, { verdict: 'TC_ACT_REDIRECT', counters: { echo: 1 } });
    t.is(outcome.frame.toString('hex'), answers[i]!.turned().bytes().toString('hex'));
  });
});

both.in('IPv4', 'options in the header are kept, in fragments too', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...UDP });
  const [client, vip, pod] = [end(r.client, 40000), end(r.vip, 80), end(r.pod1, 8080)];
  const options = Uint8Array.of(0x94, 4, 0, 0); // router alert, RFC 2113
  const fragments = pieces(udp(client, vip)).map((fragment) => fragment.ipOptions(options));
  each(world, 'weir_up_in', [udp(client, vip).ipOptions(options), ...fragments], 'up0', (outcome, fragment) => {
    const packet = moved(fragment, client, pod).routed();
    happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', packet, counters: { 'forwarded-nat': 1 } });
  });
});
