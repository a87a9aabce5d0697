/** Which backend a new flow gets. */
import type { Ip } from '../../src/core/net.js';
import { happened } from './expect.js';
import { tcp, udp } from './frames.js';
import type { Outcome, Program, World } from './harness.js';
import { end, type Roster, V4, V6 } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const THREE = (r: Roster) => [...r.remote];

function chosen(outcome: Outcome): string | undefined {
  return outcome.flows.find(({ kind }) => kind === 'FORWARD')?.address.replace(/^\[?(.*?)\]?:\d+$/, '$1');
}

function choices(world: World, program: Program, r: Roster, count: number, first = 40000): (string | undefined)[] {
  return Array.from({ length: count }, (_, i) =>
    chosen(world.run(program, tcp(end(r.client, first + i), end(r.vip, 80), 'SYN'))),
  );
}

for (const forwarding of ['nat', 'dsr'] as const) {
  for (const program of ['weir_xdp', 'weir_up_in'] as const) {
    both(
      `rr takes the backends in turn, in the order of their addresses (${forwarding}, ${program})`,
      (t, world, r) => {
        const endpoints = [r.remote[2], r.remote[0], r.remote[1]];
        world.serve({ frontends: [r.vip], endpoints, scheduler: 'rr', forwarding });
        t.deepEqual(choices(world, program, r, 7), [...r.remote, ...r.remote, r.remote[0]]);
      },
    );
  }
}

both('rr gives no turn to packets of flows that it knows', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: THREE(r), scheduler: 'rr' });
  const syn = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
  for (const packet of [syn, syn, syn.flags('ACK'), syn.flags('ACK', 'PSH').data('x')]) world.run('weir_up_in', packet);
  t.deepEqual(choices(world, 'weir_up_in', r, 2, 40001), [r.remote[1], r.remote[2]]);
});

both('rr gives one turn to a flow that XDP records and TC carries on', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1, r.pod2], scheduler: 'rr' });
  const seen: (string | undefined)[] = [];
  for (let port = 40000; port < 40004; port++) {
    const packet = tcp(end(r.client, port), end(r.vip, 80), 'SYN');
    seen.push(chosen(world.run('weir_xdp', packet)));
    t.is(chosen(world.run('weir_up_in', packet)), undefined);
  }
  t.deepEqual(seen, [r.pod1, r.pod2, r.pod1, r.pod2]);
});

both('rr counts for each frontend on its own', (t, world, r) => {
  world.serve({ frontends: [r.vip, r.otherVip], endpoints: THREE(r), scheduler: 'rr' });
  t.deepEqual(choices(world, 'weir_up_in', r, 2), [r.remote[0], r.remote[1]]);
  t.is(chosen(world.run('weir_up_in', tcp(end(r.client, 41000), end(r.otherVip, 80), 'SYN'))), r.remote[0]);
});

both('rr goes on where it was when the service is written again', (t, world, r) => {
  const service = { frontends: [r.vip], endpoints: THREE(r), scheduler: 'rr' } as const;
  world.serve(service);
  t.deepEqual(choices(world, 'weir_up_in', r, 1), [r.remote[0]]);
  world.serve(service);
  t.deepEqual(choices(world, 'weir_up_in', r, 1, 41000), [r.remote[1]]);
});

for (const scheduler of ['maglev', 'random'] as const) {
  both(`${scheduler} gives every backend its part`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: THREE(r), scheduler });
    const taken = choices(world, 'weir_up_in', r, 150);
    const parts = r.remote.map((backend) => taken.filter((choice) => choice === backend).length);
    t.is(
      parts.reduce((sum, part) => sum + part, 0),
      150,
    );
    t.true(
      parts.every((part) => part >= 15),
      `${parts.join(' ')} of 150`,
    );
  });
}

both('maglev chooses alike at XDP, at TC and for flows that were forgotten', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: THREE(r) });
  const first = choices(world, 'weir_xdp', r, 30);
  world.seen.forget();
  t.deepEqual(choices(world, 'weir_up_in', r, 30), first);
});

both('maglev keeps nearly all choices when another backend goes', (t, world, r) => {
  const eight = Array.from({ length: 8 }, (_, i) => r.remote[0].replace(/10$/, `2${i}`) as Ip);
  world.serve({ frontends: [r.vip], endpoints: eight });
  const before = choices(world, 'weir_up_in', r, 150);
  world.seen.forget();
  world.serve({ frontends: [r.vip], endpoints: eight.slice(0, 7) });
  const after = choices(world, 'weir_up_in', r, 150);
  const moved = before.filter((choice, i) => choice !== eight[7] && choice !== after[i]).length;
  t.true(moved <= 15, `${moved} of 150 moved without need`);
  t.false(after.includes(eight[7]));
});

both('endpoints of one family do not serve clients of the other', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [(r === V4 ? V6 : V4).remote[0]] });
  const outcome = world.run('weir_up_in', tcp(end(r.client, 40000), end(r.vip, 80), 'SYN'));
  happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', counters: { 'no-endpoint': 1 }, drops: ['no-endpoint'] });
});

both('TCP and UDP of one port are two services', (t, world, r) => {
  world.serve(
    { name: 'tcp', frontends: [r.vip], endpoints: [r.remote[0]] },
    { name: 'udp', frontends: [r.vip], endpoints: [r.remote[1]], protocol: 'UDP' },
  );
  t.is(chosen(world.run('weir_up_in', tcp(end(r.client, 40000), end(r.vip, 80), 'SYN'))), r.remote[0]);
  t.is(chosen(world.run('weir_up_in', udp(end(r.client, 40000), end(r.vip, 80)))), r.remote[1]);
});

both('a backend table that lacks an id is a defect: the packet is dropped as internal', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]] });
  for (const [id] of [...world.seen.tables.weir_backends.entries()]) world.seen.tables.weir_backends.delete(id);
  const packet = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
  const expected = { counters: { internal: 1 }, drops: ['internal'] };
  happened(t, world.run('weir_up_in', packet), { verdict: 'TC_ACT_SHOT', ...expected });
  happened(t, world.run('weir_xdp', packet), { verdict: 'XDP_DROP', ...expected });
});
