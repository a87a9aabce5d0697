/** ICMP errors about balanced flows: whoever they concern sees its own packet quoted. */
import { happened, passedUntouched } from './expect.js';
import { type End, ICMP_ERRORS, icmp, icmpError, type Packet, tcp, tunnelled, udp } from './frames.js';
import type { Program, World } from './harness.js';
import type { DeviceName } from './network.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const TRANSLATED = { 'icmp-error': 1 };
const TOO_BIG = { name: 'too big', mtu: 1300 } as const;

/** Opens a flow; returns the source that the backend sees. */
function open(world: World, packet: Packet, program: Program = 'weir_up_in', device: DeviceName = 'up0'): End {
  const { packet: sent } = world.run(program, packet, device);
  const [ip, ports] = [sent['ip'], sent['tcp'] ?? sent['udp']] as unknown as [
    { source: End['ip'] },
    { source: number },
  ];
  return end(ip.source, ports.source);
}

for (const name of Object.keys(ICMP_ERRORS) as (keyof typeof ICMP_ERRORS)[]) {
  both(
    `"${name}" from a router on the client's side reaches a backend on another node, about what it sent`,
    (t, world, r) => {
      world.serve({ frontends: [r.vip], endpoints: [r.remote[0]] });
      const [client, vip, backend] = [end(r.client, 40000), end(r.vip, 80), end(r.remote[0], 8080)];
      const snat = open(world, tcp(client, vip, 'SYN'));
      const segment = tcp(vip, client, 'ACK').data('x'.repeat(1000));
      const error = { name, mtu: name === 'too big' ? 1300 : 0 };
      const packet = icmpError(r.stranger, r.vip, error, segment, r.headerSize + 8);
      passedUntouched(t, world.run('weir_xdp', packet), packet);
      const expected = icmpError(r.stranger, r.remote[0], error, segment.from(backend).to(snat), r.headerSize + 8);
      const outcome = world.run('weir_up_in', packet);
      happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', packet: expected.routed(), counters: TRANSLATED });
    },
  );
}

for (const quoted of [8, 20, 200]) {
  both(`an error about a local pod's packet (${quoted} bytes behind its header) reaches the pod`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
    const [client, vip, pod] = [end(r.client, 40000), end(r.vip, 80), end(r.pod1, 8080)];
    open(world, tcp(client, vip, 'SYN'));
    const segment = tcp(vip, client, 'ACK').data('x'.repeat(1000));
    const packet = icmpError(r.stranger, r.vip, TOO_BIG, segment, r.headerSize + quoted);
    const expected = icmpError(r.stranger, r.pod1, TOO_BIG, segment.from(pod), r.headerSize + quoted);
    const outcome = world.run('weir_up_in', packet);
    happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', packet: expected.routed(), counters: TRANSLATED });
    t.is(world.runSummed('weir_up_in', packet).verdict, 'TC_ACT_REDIRECT');
  });
}

both('an error about a local pod goes through the stack where its flow does', (t, world, r) => {
  world.configure({ fastPath: 0 });
  world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
  const [client, vip, pod] = [end(r.client, 40000), end(r.vip, 80), end(r.pod1, 8080)];
  open(world, tcp(client, vip, 'SYN'));
  const segment = tcp(vip, client, 'ACK');
  const outcome = world.run('weir_up_in', icmpError(r.stranger, r.vip, TOO_BIG, segment));
  const expected = icmpError(r.stranger, r.pod1, TOO_BIG, segment.from(pod));
  happened(t, outcome, { verdict: 'TC_ACT_OK', packet: expected, counters: TRANSLATED });
});

both('an error about a tunnelled flow follows it through the tunnel and is translated at its end', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], forwarding: 'dsr' });
  const [client, vip] = [end(r.client, 40000), end(r.vip, 80)];
  world.run('weir_up_in', tcp(client, vip, 'SYN'));
  const error = icmpError(r.stranger, r.vip, TOO_BIG, tcp(vip, client, 'ACK').data('x'.repeat(1000)), r.headerSize + 8);
  const packet = tunnelled(r.node, r.remote[0], error).identification(0);
  happened(t, world.run('weir_up_in', error), { verdict: 'TC_ACT_REDIRECT', packet, counters: { 'forwarded-dsr': 1 } });
});

both('an error that comes out of a tunnel reaches the pod it concerns', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1, r.pod2], forwarding: 'dsr' });
  const [client, vip, pod] = [end(r.client, 40000), end(r.vip, 80), end(r.pod1, 8080)];
  world.run('weir_up_in', tunnelled(r.node2, r.pod1, tcp(client, vip, 'SYN')));
  const segment = tcp(vip, client, 'ACK').data('x'.repeat(1000));
  const error = icmpError(r.stranger, r.vip, TOO_BIG, segment, r.headerSize + 8);
  const outcome = world.run('weir_up_in', tunnelled(r.node2, r.pod1, error));
  const expected = icmpError(r.stranger, r.pod1, TOO_BIG, segment.from(pod), r.headerSize + 8);
  happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', packet: expected.routed(), counters: TRANSLATED });

  const strange = [
    tunnelled(r.node2, r.pod2, error),
    tunnelled(r.node2, r.pod1, icmpError(r.stranger, r.vip, TOO_BIG, tcp(vip, end(r.otherClient, 1), 'ACK'))),
    tunnelled(r.node2, r.pod1, icmp(r.stranger, r.vip, r.family === 'IPv4' ? 8 : 128, 0)),
  ];
  for (const packet of strange) {
    const dropped = world.run('weir_up_in', packet);
    happened(t, dropped, { verdict: 'TC_ACT_SHOT', counters: { 'dsr-frontend': 1 }, drops: ['dsr-frontend'] });
  }
});

for (const [who, from] of [
  ['the backend itself', (r: Roster) => r.remote[0]],
  ['a router on the way', (r: Roster) => r.stranger],
] as const) {
  both(`an error from ${who} on another node reaches the client, about what it sent to the service`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], protocol: 'UDP' });
    const [client, vip, backend] = [end(r.client, 40000), end(r.vip, 80), end(r.remote[0], 8080)];
    const question = udp(client, vip);
    const snat = open(world, question);
    const packet = icmpError(from(r), r.node, { name: 'port unreachable' }, question.from(snat).to(backend).routed());
    const sender = from(r) === r.remote[0] ? r.vip : from(r);
    const expected = icmpError(sender, r.client, { name: 'port unreachable' }, question.routed());
    const outcome = world.run('weir_up_in', packet);
    happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', packet: expected.routed(), counters: TRANSLATED });
  });
}

for (const { way, fastPath, verdict, hop } of [
  { way: 'past the stack', fastPath: 1, verdict: 'TC_ACT_REDIRECT', hop: (packet: Packet) => packet.routed() },
  { way: 'through the stack', fastPath: 0, verdict: 'TC_ACT_OK', hop: (packet: Packet) => packet },
]) {
  both(`a pod's error about what a client out there sent becomes the service's, ${way}`, (t, world, r) => {
    world.configure({ fastPath });
    world.serve({ frontends: [r.vip], endpoints: [r.pod1], protocol: 'UDP' });
    const [client, vip, pod] = [end(r.client, 40000), end(r.vip, 80), end(r.pod1, 8080)];
    const question = udp(client, vip);
    open(world, question);
    const error = icmpError(r.pod1, r.client, { name: 'port unreachable' }, question.to(pod));
    happened(t, world.run('weir_pod_in', error, 'pod1'), { verdict, packet: hop(error) });
    const expected = icmpError(r.vip, r.client, { name: 'port unreachable' }, question);
    const outcome = world.run('weir_up_out', hop(error));
    happened(t, outcome, { verdict: 'TC_ACT_OK', packet: hop(expected), counters: TRANSLATED });
    t.is(world.runSummed('weir_up_out', hop(error)).verdict, 'TC_ACT_OK');
  });

  both(`an error about what a pod sent to a service quotes the service to the pod, ${way}`, (t, world, r) => {
    world.configure({ fastPath });
    world.serve({ frontends: [r.clusterIp], kind: 'ClusterIP', endpoints: [r.remote[0]] });
    const [client, vip, backend] = [end(r.pod1, 40000), end(r.clusterIp, 80), end(r.remote[0], 8080)];
    const segment = tcp(client, vip, 'ACK').data('x'.repeat(1000));
    open(world, segment, 'weir_pod_in', 'pod1');
    const error = icmpError(r.stranger, r.pod1, TOO_BIG, segment.to(backend), r.headerSize + 8);
    happened(t, world.run('weir_up_in', error), { verdict, packet: hop(error) });
    const expected = icmpError(r.stranger, r.pod1, TOO_BIG, segment, r.headerSize + 8);
    const outcome = world.run('weir_pod_out', hop(error), 'pod1');
    happened(t, outcome, { verdict: 'TC_ACT_OK', packet: hop(expected), counters: TRANSLATED });
  });
}

both("a pod's error about what a service sent it reaches the backend, about what that sent", (t, world, r) => {
  world.serve({ frontends: [r.clusterIp], kind: 'ClusterIP', endpoints: [r.pod2], protocol: 'UDP' });
  const [client, vip, backend] = [end(r.pod1, 40000), end(r.clusterIp, 80), end(r.pod2, 8080)];
  open(world, udp(client, vip), 'weir_pod_in', 'pod1');
  const answer = udp(vip, client, 'answer');
  const error = icmpError(r.pod1, r.clusterIp, { name: 'port unreachable' }, answer);
  const expected = icmpError(r.pod1, r.pod2, { name: 'port unreachable' }, answer.from(backend));
  const outcome = world.run('weir_pod_in', error, 'pod1');
  happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', packet: expected.routed(), counters: TRANSLATED });
});

both('errors about a connection with a replaced port quote the port that each side knows', (t, world, r) => {
  world.serve(
    { frontends: [r.vip], endpoints: [r.pod1] },
    { name: 'other', frontends: [r.otherVip], endpoints: [r.pod1] },
  );
  const [client, vip, pod] = [end(r.client, 40000), end(r.otherVip, 80), end(r.pod1, 8080)];
  open(world, tcp(client, end(r.vip, 80), 'SYN'));
  const moved = open(world, tcp(client, vip, 'SYN'));
  const reply = tcp(vip, client, 'ACK');
  const there = world.run('weir_up_in', icmpError(r.stranger, r.otherVip, TOO_BIG, reply));
  const toPod = icmpError(r.stranger, r.pod1, TOO_BIG, reply.from(pod).to(moved)).routed();
  happened(t, there, { verdict: 'TC_ACT_REDIRECT', packet: toPod, counters: TRANSLATED });
  const request = tcp(client, vip, 'ACK');
  const back = world.run('weir_up_out', icmpError(r.pod1, r.client, TOO_BIG, request.from(moved).to(pod)));
  const toClient = icmpError(r.otherVip, r.client, TOO_BIG, request);
  happened(t, back, { verdict: 'TC_ACT_OK', packet: toClient, counters: TRANSLATED });
});

both('an error whose hop limit is used up ends here', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
  const [client, vip] = [end(r.client, 40000), end(r.vip, 80)];
  open(world, tcp(client, vip, 'SYN'));
  const packet = icmpError(r.stranger, r.vip, TOO_BIG, tcp(vip, client, 'ACK')).hops(1);
  const outcome = world.run('weir_up_in', packet);
  happened(t, outcome, { verdict: 'TC_ACT_SHOT', counters: { ttl: 1 }, drops: ['ttl'] });
});

both('other ICMP, and errors about nothing of ours, pass untouched at every hook', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
  const [client, vip] = [end(r.client, 40000), end(r.vip, 80)];
  open(world, tcp(client, vip, 'SYN'));
  const echo = r.family === 'IPv4' ? 8 : 128;
  const about = tcp(vip, client, 'ACK');
  const packets = [
    icmp(r.client, r.node, echo, 0, 0x00010001).data('ping'),
    icmp(r.client, r.otherVip, echo, 0).data(''),
    icmpError(r.stranger, r.otherVip, TOO_BIG, about.to(end(r.client, 40001))),
    icmpError(r.stranger, r.otherVip, TOO_BIG, about, r.headerSize + 3),
    icmpError(r.stranger, r.otherVip, TOO_BIG, about, r.headerSize - 1),
    icmpError(r.stranger, r.otherVip, TOO_BIG, about, 0),
    icmpError(r.stranger, r.node, TOO_BIG, about),
    icmpError(r.stranger, r.otherVip, TOO_BIG, icmp(r.vip, r.client, echo, 0)),
  ];
  for (const packet of packets) {
    passedUntouched(t, world.run('weir_xdp', packet), packet);
    passedUntouched(t, world.run('weir_up_in', packet), packet);
    passedUntouched(t, world.run('weir_up_out', packet), packet);
    passedUntouched(t, world.run('weir_pod_out', packet, 'pod1'), packet);
  }
});
