/** A client that talks to a backend through a frontend and also itself, without one, from the same port: neither disturbs the other. */
import { happened, passedUntouched, sourcePort } from './expect.js';
import { tcp } from './frames.js';
import type { Program, World } from './harness.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();

function serve(world: World, r: Roster) {
  world.serve({ frontends: [r.clusterIp], kind: 'ClusterIP', endpoints: [r.pod2] });
  return { client: end(r.pod1, 40000), vip: end(r.clusterIp, 80), backend: end(r.pod2, 8080) };
}

/** Along the way of a backend's packet, from its own device to the client's. */
const WAY: readonly (readonly [Program, 'pod1' | 'pod2'])[] = [
  ['weir_pod_in', 'pod2'],
  ['weir_pod_out', 'pod1'],
];

both('through a service before, by itself now: the backend answers under its own address', (t, world, r) => {
  const { client, vip, backend } = serve(world, r);
  const before = tcp(client, vip, 'SYN');
  world.run('weir_pod_in', before, 'pod1');
  for (const [hook, device] of WAY) world.run(hook, tcp(backend, client, 'SYN', 'ACK'), device);
  world.run('weir_pod_in', before.flags('ACK'), 'pod1');
  world.run('weir_pod_in', before.flags('RST'), 'pod1');

  const own = tcp(client, backend, 'SYN');
  passedUntouched(t, world.run('weir_pod_in', own, 'pod1'), own);
  for (const answer of [tcp(backend, client, 'SYN', 'ACK'), tcp(backend, client, 'ACK', 'PSH').data('x')])
    for (const [hook, device] of WAY) passedUntouched(t, world.run(hook, answer, device), answer);
});

both('by itself already, through a service as well: the second gets another port, the first goes on', (t, world, r) => {
  const { client, vip, backend } = serve(world, r);
  const syn = tcp(client, vip, 'SYN');
  t.deepEqual(world.run('weir_pod_in', syn, 'pod1').counters, { 'forwarded-nat': 1 });
  /* what a backend says to a SYN on a connection that it has: RFC 5961 section 4 */
  const challenge = tcp(backend, client, 'ACK');
  for (const [hook, device] of WAY) passedUntouched(t, world.run(hook, challenge, device), challenge);

  const again = world.run('weir_pod_in', syn, 'pod1');
  const moved = { ...client, port: sourcePort(again) };
  t.not(moved.port, client.port);
  const answer = tcp(backend, moved, 'SYN', 'ACK');
  const back = world.run('weir_pod_out', answer.routed(), 'pod1');
  happened(t, back, { verdict: 'TC_ACT_OK', packet: answer.routed().from(vip).to(client), counters: { reply: 1 } });
  const more = tcp(backend, client, 'ACK', 'PSH').data('x');
  for (const [hook, device] of WAY) passedUntouched(t, world.run(hook, more, device), more);
});

both('a backend that refuses does so as its service, and what follows an answer does as well', (t, world, r) => {
  const { client, vip, backend } = serve(world, r);
  world.run('weir_pod_in', tcp(client, vip, 'SYN'), 'pod1');
  const refusal = tcp(backend, client, 'RST', 'ACK');
  const restored = { verdict: 'TC_ACT_OK', counters: { reply: 1 } };
  happened(t, world.run('weir_pod_out', refusal, 'pod1'), { ...restored, packet: refusal.from(vip) });
  world.run('weir_pod_in', tcp(client, vip, 'SYN'), 'pod1');
  for (const answer of [tcp(backend, client, 'SYN', 'ACK'), tcp(backend, client, 'ACK')])
    happened(t, world.run('weir_pod_out', answer, 'pod1'), { ...restored, packet: answer.from(vip) });
});

both('through a service already, by itself as well: the second gets another port, the first goes on', (t, world, r) => {
  const { client, vip, backend } = serve(world, r);
  world.run('weir_pod_in', tcp(client, vip, 'SYN'), 'pod1');
  for (const [hook, device] of WAY) world.run(hook, tcp(backend, client, 'SYN', 'ACK'), device);
  world.run('weir_pod_in', tcp(client, vip, 'ACK'), 'pod1');

  const own = tcp(client, backend, 'SYN');
  const there = world.run('weir_pod_in', own, 'pod1');
  const moved = { ...client, port: sourcePort(there) };
  t.not(moved.port, client.port);
  happened(t, there, { verdict: 'TC_ACT_OK', packet: own.from(moved), counters: { 'forwarded-nat': 1 } });
  const next = own.flags('ACK');
  happened(t, world.run('weir_pod_in', next, 'pod1'), {
    verdict: 'TC_ACT_OK',
    packet: next.from(moved),
    counters: { 'forwarded-nat': 1 },
  });
  const [toOwn, toFirst] = [tcp(backend, moved, 'SYN', 'ACK'), tcp(backend, client, 'ACK').data('x')];
  const reply = { verdict: 'TC_ACT_OK', counters: { reply: 1 } };
  happened(t, world.run('weir_pod_out', toOwn, 'pod1'), { ...reply, packet: toOwn.to(client) });
  happened(t, world.run('weir_pod_out', toFirst, 'pod1'), { ...reply, packet: toFirst.from(vip) });
});
