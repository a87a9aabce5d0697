/** Direct server return, at the node that the client reaches: the packet goes to the backend's node as it is, in a tunnel. */
import { happened, passedUntouched } from './expect.js';
import { icmpError, type Packet, tcp, tunnelled, udp } from './frames.js';
import type { Program } from './harness.js';
import { end, MAC, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const DSR = { forwarding: 'dsr' } as const;

interface Hook {
  readonly program: Program & ('weir_xdp' | 'weir_up_in');
  readonly name: string;
  readonly verdict: string;
  readonly addressed: (packet: Packet) => Packet;
}

const HOOKS: readonly Hook[] = [
  { program: 'weir_xdp', name: 'at XDP', verdict: 'XDP_TX', addressed: (packet) => packet.over(MAC.up0, MAC.node2) },
  { program: 'weir_up_in', name: 'at TC', verdict: 'TC_ACT_REDIRECT', addressed: (packet) => packet },
];

const sentTo = (r: Roster, inner: Packet): Packet => tunnelled(r.node, r.remote[0], inner).identification(0);

for (const { program, name, verdict, addressed } of HOOKS) {
  both(`a packet travels unchanged, in a tunnel from this node's address to the pod's, ${name}`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...DSR });
    for (const packet of [
      tcp(end(r.client, 40000), end(r.vip, 80), 'SYN'),
      tcp(end(r.client, 40000), end(r.vip, 80), 'ACK').data('odd'),
    ]) {
      const outcome = world.run(program, packet);
      happened(t, outcome, { verdict, packet: addressed(sentTo(r, packet)), counters: { 'forwarded-dsr': 1 } });
    }
    const [flow, ...others] = world.seen.flows();
    t.deepEqual(others, [], 'replies do not come back here');
    t.like(flow, { kind: 'FORWARD', forwarding: 'DSR', flags: '', state: 'ESTABLISHED' });
  });

  both(`the tunnel carries the packet's traffic class ${name}`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], protocol: 'UDP', ...DSR });
    const label = r.family === 'IPv6' ? 0xabcde : 0;
    const packet = udp(end(r.client, 40000), end(r.vip, 80)).tos(0xb9, label);
    const expected = addressed(sentTo(r, packet).tos(0xb9, label));
    happened(t, world.run(program, packet), { verdict, packet: expected, counters: { 'forwarded-dsr': 1 } });
  });

  both(`the largest packet that fits into the tunnel is sent ${name}`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...DSR });
    const packet = tcp(end(r.client, 40000), end(r.vip, 80), 'ACK').data(
      Buffer.alloc(1500 - 2 * r.headerSize - 20, 'x'),
    );
    const outcome = world.run(program, packet);
    happened(t, outcome, { verdict, packet: addressed(sentTo(r, packet)), counters: { 'forwarded-dsr': 1 } });
  });

  both(`the same client finds the same backend again after its flow was forgotten ${name}`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: r.remote, ...DSR });
    for (let port = 40000; port < 40016; port++) {
      const packet = tcp(end(r.client, port), end(r.vip, 80), 'ACK');
      const first = world.run(program, packet);
      world.seen.forget();
      t.deepEqual(world.run(program, packet).packet, first.packet);
    }
  });

  both(`a flood of new clients is forwarded without being recorded ${name}`, (t, world, r) => {
    world.configure({ floodRate: 5 });
    world.serve({ frontends: [r.vip], endpoints: r.remote, ...DSR });
    const outcomes = Array.from({ length: 40 }, (_, i) =>
      world.run(program, tcp(end(r.client, 40000 + i), end(r.vip, 80), 'SYN')),
    );
    const unrecorded = outcomes.filter(({ counters }) => counters['unrecorded'] === 1);
    t.true(unrecorded.length > 0);
    for (const outcome of unrecorded) {
      t.is(outcome.verdict, verdict);
      t.deepEqual(outcome.flows, []);
      t.deepEqual(outcome.counters, { unrecorded: 1 });
    }
    const recorded = outcomes.filter(({ counters }) => counters['forwarded-dsr'] === 1);
    t.is(recorded.length + unrecorded.length, outcomes.length);
    t.true(recorded.every(({ flows }) => flows.length === 1));
  });

  both(`an unrecorded client's next packet goes to the same backend ${name}`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: r.remote, ...DSR });
    const packets = Array.from({ length: 30 }, (_, i) => tcp(end(r.client, 40000 + i), end(r.vip, 80), 'ACK'));
    const recorded = packets.map((packet) => world.run(program, packet).packet);
    world.seen.forget();
    world.configure({ floodRate: 1 });
    t.deepEqual(
      packets.map((packet) => world.run(program, packet).packet),
      recorded,
    );
  });

  both(`a packet whose hop limit is used up is left to the stack ${name}`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...DSR });
    const packet = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN').hops(1);
    passedUntouched(t, world.run(program, packet), packet);
  });
}

both('a packet too large for the tunnel is left to TC by XDP', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...DSR });
  const packet = tcp(end(r.client, 40000), end(r.vip, 80), 'ACK').data(Buffer.alloc(1500 - 2 * r.headerSize - 19, 'x'));
  passedUntouched(t, world.run('weir_xdp', packet), packet);
});

both('a packet too large for the tunnel is answered with the size that fits', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...DSR });
  const packet = tcp(end(r.client, 40000), end(r.vip, 80), 'ACK').data(Buffer.alloc(1500 - 2 * r.headerSize - 19, 'x'));
  const answer = icmpError(r.vip, r.client, { name: 'too big', mtu: 1500 - r.headerSize }, packet, r.headerSize + 20);
  happened(t, world.run('weir_up_in', packet), {
    verdict: 'TC_ACT_REDIRECT',
    packet: answer.turned().identification(0),
    counters: { 'too-big': 1 },
    drops: ['too-big'],
  });
});

both('a UDP datagram too large for the tunnel is answered as well', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], protocol: 'UDP', ...DSR });
  const packet = udp(end(r.client, 40000), end(r.vip, 80), 'x'.repeat(1500 - 2 * r.headerSize - 7));
  const answer = icmpError(r.vip, r.client, { name: 'too big', mtu: 1500 - r.headerSize }, packet, r.headerSize + 8);
  happened(t, world.run('weir_up_in', packet), {
    verdict: 'TC_ACT_REDIRECT',
    packet: answer.turned().identification(0),
    counters: { 'too-big': 1 },
    drops: ['too-big'],
  });
});

both("a tunnel's packet keeps the device's own sum over it right", (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...DSR });
  const packet = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN').tos(4);
  happened(t, world.runSummed('weir_up_in', packet), {
    verdict: 'TC_ACT_REDIRECT',
    packet: sentTo(r, packet).tos(4),
    counters: { 'forwarded-dsr': 1 },
  });
});

both('a tunnel goes through an overlay device at TC, which XDP leaves it to', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remoteByOverlay], ...DSR });
  const packet = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
  passedUntouched(t, world.run('weir_xdp', packet), packet);
  const outcome = world.run('weir_up_in', packet);
  const from = r.family === 'IPv4' ? '10.2.0.1' : 'fd00:2::1';
  t.is(outcome.verdict, 'TC_ACT_REDIRECT');
  t.like(outcome.packet, { ip: { source: from, destination: r.remoteByOverlay } });
  t.deepEqual(outcome.flows, [], 'XDP has recorded it');
});

both('a flood that XDP leaves to TC is counted once', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remoteByOverlay], ...DSR });
  world.configure({ floodRate: 1 });
  for (let port = 40000; port < 40010; port++) world.run('weir_xdp', tcp(end(r.client, port), end(r.vip, 80), 'SYN'));
  const packet = tcp(end(r.client, 40020), end(r.vip, 80), 'SYN');
  passedUntouched(t, world.run('weir_xdp', packet), packet);
});

both('the node refuses what it has no route for', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.unroutable], ...DSR });
  const packet = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
  passedUntouched(t, world.run('weir_xdp', packet), packet);
  happened(t, world.run('weir_up_in', packet), {
    verdict: 'TC_ACT_SHOT',
    counters: { 'no-route': 1 },
    drops: ['no-route'],
  });
});

both('a node port is forwarded like any other frontend', (t, world, r) => {
  world.serve({ frontends: [], kind: 'NodePort', nodePort: 30080, endpoints: [r.remote[0]], ...DSR });
  const packet = tcp(end(r.client, 40000), end(r.node, 30080), 'SYN');
  for (const { program, verdict, addressed } of HOOKS) {
    const expected = addressed(sentTo(r, packet));
    happened(t, world.run(program, packet), { verdict, packet: expected, counters: { 'forwarded-dsr': 1 } });
  }
});
