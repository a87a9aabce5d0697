/** DSR on one link: the packet goes to the backend's Ethernet address as it is, as LVS-DR does it. */
import { happened, passedUntouched } from './expect.js';
import { icmpError, type Packet, tcp, udp } from './frames.js';
import type { Program } from './harness.js';
import { end, MAC } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const L2 = { forwarding: 'dsr-l2', target: 80 } as const;

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

for (const { program, name, verdict, addressed } of HOOKS) {
  both(`only the Ethernet addresses and the hop limit change ${name}`, (t, world, r) => {
    world.serve(
      { frontends: [r.vip], endpoints: [r.node2], ...L2 },
      { name: 'dns', frontends: [r.vip], endpoints: [r.node2], ...L2, protocol: 'UDP' },
    );
    for (const packet of [
      tcp(end(r.client, 40000), end(r.vip, 80), 'SYN'),
      tcp(end(r.client, 40000), end(r.vip, 80), 'ACK').data('odd'),
      udp(end(r.client, 40000), end(r.vip, 80)),
    ]) {
      const outcome = world.run(program, packet);
      happened(t, outcome, { verdict, packet: addressed(packet.routed()), counters: { 'forwarded-l2': 1 } });
    }
    t.deepEqual(
      world.seen.flows().map(({ kind, forwarding }) => [kind, forwarding]),
      [
        ['FORWARD', 'DSR_L2'],
        ['FORWARD', 'DSR_L2'],
      ],
      'replies do not come back here',
    );
  });

  both(`a packet whose hop limit is used up is left to the stack ${name}`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.node2], ...L2 });
    const packet = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN').hops(1);
    passedUntouched(t, world.run(program, packet), packet);
  });

  both(`a flood of new clients is forwarded without being recorded ${name}`, (t, world, r) => {
    world.configure({ floodRate: 1 });
    world.serve({ frontends: [r.vip], endpoints: [r.node2], ...L2 });
    const outcomes = Array.from({ length: 10 }, (_, i) =>
      world.run(program, tcp(end(r.client, 40000 + i), end(r.vip, 80), 'SYN')),
    );
    t.true(outcomes.every((outcome) => outcome.verdict === verdict));
    t.true(outcomes.some(({ counters }) => counters['unrecorded'] === 1));
  });
}

both('a backend behind a gateway cannot be reached', (t, world, r) => {
  for (const backend of [r.remote[0], r.unroutable]) {
    world.reset();
    world.serve({ frontends: [r.vip], endpoints: [backend], ...L2 });
    const packet = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
    passedUntouched(t, world.run('weir_xdp', packet), packet);
    happened(t, world.run('weir_up_in', packet), {
      verdict: 'TC_ACT_SHOT',
      counters: { 'no-route': 1 },
      drops: ['no-route'],
    });
  }
});

both('a backend on this node gets the packet translated, and its reply is the service again', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...L2 });
  const [client, vip, pod] = [end(r.client, 40000), end(r.vip, 80), end(r.pod1, 80)];
  const packet = tcp(client, vip, 'SYN');
  passedUntouched(t, world.run('weir_xdp', packet), packet);
  const there = world.run('weir_up_in', packet);
  happened(t, there, {
    verdict: 'TC_ACT_REDIRECT',
    packet: packet.to(pod).routed(),
    counters: { 'forwarded-nat': 1 },
  });
  const back = world.run('weir_up_out', tcp(pod, client, 'SYN', 'ACK'));
  happened(t, back, { verdict: 'TC_ACT_OK', packet: tcp(vip, client, 'SYN', 'ACK'), counters: { reply: 1 } });
});

both('a pod is always translated, and so is what names another port', (t, world, r) => {
  world.serve(
    { frontends: [r.vip], endpoints: [r.node2], ...L2 },
    { name: 'mapped', frontends: [r.otherVip], endpoints: [r.node2], ...L2, target: 8080 },
  );
  const fromPod = world.run('weir_pod_in', tcp(end(r.pod1, 40000), end(r.vip, 80), 'SYN'), 'pod1');
  t.deepEqual(fromPod.counters, { 'forwarded-nat': 1 });
  const mapped = world.run('weir_up_in', tcp(end(r.client, 40000), end(r.otherVip, 80), 'SYN'));
  t.deepEqual(mapped.counters, { 'forwarded-nat': 1 });
});

both('an error about such a flow follows it to the backend', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.node2], ...L2 });
  const [client, vip] = [end(r.client, 40000), end(r.vip, 80)];
  world.run('weir_up_in', tcp(client, vip, 'SYN'));
  const error = icmpError(r.stranger, r.vip, { name: 'too big', mtu: 1300 }, tcp(vip, client, 'ACK'), r.headerSize + 8);
  happened(t, world.run('weir_up_in', error), {
    verdict: 'TC_ACT_REDIRECT',
    packet: error.routed(),
    counters: { 'forwarded-l2': 1 },
  });
});

both('a packet larger than the link is answered with the size that fits', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.node2], ...L2 });
  const packet = tcp(end(r.client, 40000), end(r.vip, 80), 'ACK').data(Buffer.alloc(1600, 'x'));
  passedUntouched(t, world.run('weir_xdp', packet), packet);
  const outcome = world.run('weir_up_in', packet);
  t.like(outcome, { verdict: 'TC_ACT_REDIRECT', counters: { 'too-big': 1 } });
});
