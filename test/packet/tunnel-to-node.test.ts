/** A tunnel that names this node, not a pod of it: another node's IPVS has chosen the node, and this one chooses the pod. */
import { STAGE } from '../../src/maps/layout.js';
import type { Fields } from './decode.js';
import { happened, passedUntouched } from './expect.js';
import { icmpError, type Packet, tcp, tunnelled, udp } from './frames.js';
import type { World } from './harness.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const DSR = { forwarding: 'dsr' } as const;
const SENT = 'TC_ACT_REDIRECT';
const TOO_BIG = { name: 'too big', mtu: 1400 } as const;
const LATER = 1n << 60n;

const request = (r: Roster): Packet => tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
const opened = (r: Roster, packet: Packet): Packet => packet.to(end(r.pod1, 8080)).routed();
const leave = (world: World): void => world.configure({ stage: STAGE.LEAVING });
const join = (world: World): void => world.configure({ stage: STAGE.JOINING, stageUntil: LATER });

both('what is inside goes to a pod of this node', (t, world, r) => {
  world.serve(
    { frontends: [r.vip], endpoints: [r.pod1], ...DSR },
    { name: 'dns', protocol: 'UDP', frontends: [r.vip], endpoints: [r.pod1], ...DSR },
  );
  for (const packet of [request(r), request(r).flags('ACK').data('x'), udp(end(r.client, 1), end(r.vip, 80))]) {
    const outcome = world.run('weir_up_in', tunnelled(r.node2, r.node, packet));
    happened(t, outcome, { verdict: SENT, packet: opened(r, packet), counters: { decapsulated: 1 } });
  }
  const reply = tcp(end(r.pod1, 8080), end(r.client, 40000), 'SYN', 'ACK');
  const back = world.run('weir_up_out', reply);
  happened(t, back, { verdict: 'TC_ACT_OK', packet: reply.from(end(r.vip, 80)), counters: { reply: 1 } });
});

both('it goes to a pod of this node alone: another node could send it back', (t, world, r) => {
  for (const scheduler of ['maglev', 'rr', 'lc', 'sh'] as const) {
    world.serve({ frontends: [r.vip], endpoints: [...r.remote, r.pod1], scheduler, ...DSR });
    for (let port = 40000; port < 40008; port++) {
      const packet = request(r).from(end(r.client, port));
      const outcome = world.run('weir_up_in', tunnelled(r.node2, r.node, packet));
      happened(t, outcome, { verdict: SENT, packet: opened(r, packet), counters: { decapsulated: 1 } });
    }
    world.seen.forget();
  }
});

both('it is spread over the pods of this node, and each connection keeps its own', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [...r.remote, r.pod1, r.pod2], scheduler: 'rr', ...DSR });
  const ports = [40000, 40001, 40002, 40003];
  const went = (flag: 'SYN' | 'ACK'): unknown[] =>
    ports.map((port) => {
      const packet = tcp(end(r.client, port), end(r.vip, 80), flag);
      return (world.run('weir_up_in', tunnelled(r.node2, r.node, packet)).packet['ip'] as Fields)['destination'];
    });
  const first = went('SYN');
  t.deepEqual(first.toSorted(), [r.pod1, r.pod1, r.pod2, r.pod2].toSorted());
  t.deepEqual(went('ACK'), first);
});

both('without a pod here it is dropped without a word: its client asks again', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: r.remote, ...DSR });
  const outcome = world.run('weir_up_in', tunnelled(r.node2, r.node, request(r)));
  happened(t, outcome, { verdict: 'TC_ACT_SHOT', counters: { 'dsr-frontend': 1 }, drops: ['dsr-frontend'] });
  t.deepEqual(world.seen.flows(), []);
});

both('a node port has the address of the node that the client reached', (t, world, r) => {
  world.serve({ frontends: [], kind: 'NodePort', nodePort: 30080, endpoints: [r.pod1], ...DSR });
  const packet = tcp(end(r.client, 40000), end(r.node2, 30080), 'SYN');
  const outcome = world.run('weir_up_in', tunnelled(r.node2, r.node, packet));
  happened(t, outcome, { verdict: SENT, packet: opened(r, packet), counters: { decapsulated: 1 } });
  const reply = tcp(end(r.pod1, 8080), end(r.client, 40000), 'SYN', 'ACK');
  t.like(world.run('weir_up_out', reply).packet, { ip: { source: r.node2 } });
});

both('an error about a flow follows it', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...DSR });
  world.run('weir_up_in', tunnelled(r.node2, r.node, request(r)));
  const segment = tcp(end(r.vip, 80), end(r.client, 40000), 'ACK').data('x'.repeat(1000));
  const error = icmpError(r.stranger, r.vip, TOO_BIG, segment, r.headerSize + 8);
  const expected = icmpError(r.stranger, r.pod1, TOO_BIG, segment.from(end(r.pod1, 8080)), r.headerSize + 8);
  const outcome = world.run('weir_up_in', tunnelled(r.node2, r.node, error));
  happened(t, outcome, { verdict: SENT, packet: expected.routed(), counters: { 'icmp-error': 1 } });
});

both('source ranges hold', (t, world, r) => {
  world.serve({
    frontends: [r.vip],
    kind: 'LoadBalancer',
    ranges: ['10.8.0.0/16', 'fd00:8::/32'],
    endpoints: [r.pod1],
    ...DSR,
  });
  const outcome = world.run('weir_up_in', tunnelled(r.node2, r.node, request(r)));
  happened(t, outcome, { verdict: 'TC_ACT_SHOT', counters: { 'source-range': 1 }, drops: ['source-range'] });
});

both('a pod on the host network that backs the frontend is what another node has chosen', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.node, r.pod1, r.pod2], scheduler: 'rr', ...DSR });
  for (let port = 40000; port < 40006; port++) {
    const packet = tcp(end(r.client, port), end(r.vip, 80), 'SYN');
    const outcome = world.run('weir_up_in', tunnelled(r.node2, r.node, packet));
    happened(t, outcome, { verdict: 'TC_ACT_OK', packet: packet.to(end(r.node, 8080)), counters: { decapsulated: 1 } });
  }
});

both("tunnels that carry nothing of ours are an overlay's and left alone", (t, world, r) => {
  world.serve(
    { frontends: [r.vip], endpoints: [r.pod1], ...DSR },
    { name: 'translated', frontends: [r.vip], port: 88, endpoints: [r.pod1] },
  );
  const to = (ip: Roster['vip'], port: number): Packet => tcp(end(r.client, 40000), end(ip, port), 'SYN');
  const unknown = icmpError(r.stranger, r.vip, TOO_BIG, tcp(end(r.vip, 80), end(r.client, 1), 'ACK'));
  for (const inner of [to(r.pod1, 8080), to(r.vip, 81), to(r.vip, 88), to(r.node2, 80), unknown]) {
    const packet = tunnelled(r.node2, r.node, inner);
    passedUntouched(t, world.run('weir_up_in', packet), packet);
  }
  for (const packet of [tunnelled(r.stranger, r.node, request(r)), tunnelled(r.node2, r.remote[0], request(r))])
    passedUntouched(t, world.run('weir_up_in', packet), packet);
  t.deepEqual(world.seen.flows(), []);
});

both('while IPVS serves this node too, what is new or its own is left to it', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...DSR });
  const segment = request(r).flags('ACK').data('x');
  leave(world);
  for (const inner of [request(r), segment]) {
    const packet = tunnelled(r.node2, r.node, inner);
    passedUntouched(t, world.run('weir_up_in', packet), packet);
  }
  join(world);
  const packet = tunnelled(r.node2, r.node, segment);
  passedUntouched(t, world.run('weir_up_in', packet), packet);
  for (const inner of [request(r), segment])
    t.deepEqual(world.run('weir_up_in', tunnelled(r.node2, r.node, inner)).counters, { decapsulated: 1 });
  leave(world);
  t.deepEqual(world.run('weir_up_in', packet).counters, { decapsulated: 1 }, 'what is known here goes on');
  world.run('weir_up_in', tunnelled(r.node2, r.node, request(r).flags('RST')));
  for (const inner of [request(r), segment]) {
    const again = tunnelled(r.node2, r.node, inner);
    passedUntouched(t, world.run('weir_up_in', again), again);
  }
});
