/** Packets and bytes by backend, as the metrics read them. */
import { TrafficReader } from '../../src/maps/traffic.js';
import { tcp, udp } from './frames.js';
import type { World } from './harness.js';
import { end } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();

/** `packets/bytes > packets/bytes, flows` by address of the backend. */
function traffic(world: World): Record<string, string> {
  using reader = new TrafficReader(world.root);
  const rows = [...reader.read()].map(({ address, forward, reply, flows, service }) => [
    address,
    `${service} ${forward.packets}/${forward.bytes} > ${reply.packets}/${reply.bytes}, ${flows}`,
  ]);
  return Object.fromEntries(rows) as Record<string, string>;
}

both('what goes to a local backend and back is counted once, whatever hooks it passes', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
  const syn = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
  const segment = syn.flags('ACK').data('x'.repeat(100));
  const size = (packet: typeof syn) => packet.bytes().length - 14;
  for (const packet of [syn, segment]) for (const hook of ['weir_xdp', 'weir_up_in'] as const) world.run(hook, packet);
  const reply = tcp(end(r.pod1, 8080), end(r.client, 40000), 'ACK').data('y'.repeat(10));
  world.run('weir_pod_in', reply, 'pod1');
  world.run('weir_up_out', reply);
  const expected = `2/${size(syn) + size(segment)} > 1/${size(reply)}, 1`;
  t.deepEqual(traffic(world), { [r.pod1]: `Service shop/web:80 ${expected}` });
  world.run('weir_up_in', syn.flags('RST'));
  t.deepEqual(traffic(world), {
    [r.pod1]: `Service shop/web:80 3/${size(syn) * 2 + size(segment)} > 1/${size(reply)}, 0`,
  });
});

for (const program of ['weir_xdp', 'weir_up_in'] as const) {
  both(`what is translated to another node and back is counted by backend (${program})`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0], r.remote[1]], scheduler: 'rr', protocol: 'UDP' });
    const question = udp(end(r.client, 40000), end(r.vip, 80)).data('hello');
    const bytes = question.bytes().length - 14;
    const { packet } = world.run(program, question);
    world.run(program, question);
    const port = (packet['udp'] as { source: number }).source;
    world.run(program, udp(end(r.remote[0], 8080), end(r.node, port)).data('hello'));
    t.deepEqual(traffic(world), {
      [r.remote[0]]: `Service shop/web:80 2/${bytes * 2} > 1/${bytes}, 1`,
      [r.remote[1]]: 'Service shop/web:80 0/0 > 0/0, 0',
    });
  });

  both(`what is tunnelled to another node is counted, recorded or not (${program})`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], forwarding: 'dsr' });
    world.configure({ floodRate: 1 });
    const syn = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
    const outcomes = [40000, 40001, 40002].map((port) => world.run(program, syn.from(end(r.client, port))));
    const recorded = outcomes.filter(({ counters }) => counters['unrecorded'] !== 1).length; // one a second and core
    t.true(recorded > 0 && recorded < 3, 'of either kind');
    const bytes = (syn.bytes().length - 14) * 3;
    t.deepEqual(traffic(world), { [r.remote[0]]: `Service shop/web:80 3/${bytes} > 0/0, ${recorded}` });
  });
}

both('what is refused counts for no backend', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.unroutable] });
  world.run('weir_up_in', tcp(end(r.client, 40000), end(r.vip, 80), 'SYN'));
  t.deepEqual(traffic(world), { [r.unroutable]: 'Service shop/web:80 0/0 > 0/0, 0' });
});
