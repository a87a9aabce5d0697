/** While another dataplane serves this node as well: each goes on with the connections that it has, and one takes what is new. */
import { STAGE } from '../../src/maps/layout.js';
import { happened } from './expect.js';
import { sctp, tcp, tunnelled, udp } from './frames.js';
import type { World } from './harness.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const LATER = 1n << 60n;

const leave = (world: World): void => world.configure({ stage: STAGE.LEAVING });
const join = (world: World, until = LATER): void => world.configure({ stage: STAGE.JOINING, stageUntil: until });

const PLACES = [
  { name: 'outside', hooks: ['weir_xdp', 'weir_up_in'], device: 'up0', client: (r: Roster) => r.client },
  { name: 'a pod', hooks: ['weir_pod_in'], device: 'pod1', client: (r: Roster) => r.pod1 },
] as const;
const PASSED = { weir_xdp: 'XDP_PASS', weir_up_in: 'TC_ACT_OK', weir_pod_in: 'TC_ACT_OK' } as const;

for (const { name, hooks, device, client } of PLACES) {
  both(`leaving, new packets from ${name} are left to the other dataplane`, (t, world, r) => {
    const services = [{}, { name: 'dns', protocol: 'UDP' }, { name: 'core', protocol: 'SCTP' }] as const;
    world.serve(...services.map((one) => ({ frontends: [r.vip], endpoints: [r.remote[0], r.pod2], ...one })));
    leave(world);
    const [from, to] = [end(client(r), 40000), end(r.vip, 80)];
    for (const packet of [tcp(from, to, 'SYN'), tcp(from, to, 'ACK'), udp(from, to), sctp(from, to)]) {
      for (const hook of hooks) {
        const outcome = world.run(hook, packet, device);
        happened(t, outcome, { verdict: PASSED[hook], untouched: packet });
        t.deepEqual(outcome.flows, []);
      }
    }
  });

  both(`leaving, nobody from ${name} is refused`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [] });
    leave(world);
    const packet = tcp(end(client(r), 40000), end(r.vip, 80), 'SYN');
    for (const hook of hooks)
      happened(t, world.run(hook, packet, device), { verdict: PASSED[hook], untouched: packet });
  });

  both(
    `joining, connections from ${name} that nobody knows are left to the other dataplane until its time is over`,
    (t, world, r) => {
      world.serve({ frontends: [r.vip], endpoints: [r.remote[0]] });
      const packet = tcp(end(client(r), 40000), end(r.vip, 80), 'ACK', 'PSH').data('x');
      join(world);
      for (const hook of hooks)
        happened(t, world.run(hook, packet, device), { verdict: PASSED[hook], untouched: packet });
      join(world, 1n);
      t.deepEqual(world.run(hooks[0], packet, device).counters, { 'forwarded-nat': 1 });
    },
  );

  both(`joining, what is new from ${name} is served here`, (t, world, r) => {
    world.serve(
      { frontends: [r.vip], endpoints: [r.remote[0]] },
      { name: 'dns', protocol: 'UDP', frontends: [r.vip], endpoints: [r.remote[0]] },
    );
    join(world);
    const [from, to] = [end(client(r), 40000), end(r.vip, 80)];
    for (const packet of [tcp(from, to, 'SYN'), tcp(from, to, 'ACK'), udp(from, to)])
      t.deepEqual(
        world.run(hooks[0], packet, device).counters,
        { 'forwarded-nat': 1 },
        'the second belongs to the first',
      );
  });
}

both(
  'joining, a connection that no endpoint is left for is not reset: the other dataplane may know one',
  (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [] });
    join(world);
    const packet = tcp(end(r.client, 40000), end(r.vip, 80), 'ACK');
    happened(t, world.run('weir_up_in', packet), { verdict: 'TC_ACT_OK', untouched: packet });
  },
);

both('leaving, known flows go on in both directions', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
  const syn = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
  world.run('weir_up_in', syn);
  world.run('weir_up_out', tcp(end(r.pod1, 8080), end(r.client, 40000), 'SYN', 'ACK'));
  leave(world);
  const there = world.run('weir_up_in', syn.flags('ACK').data('x'));
  t.like(there.packet, { ip: { destination: r.pod1 } });
  const back = world.run('weir_up_out', tcp(end(r.pod1, 8080), end(r.client, 40000), 'ACK'));
  t.like(back.packet, { ip: { source: r.vip } });
  t.deepEqual([there.counters, back.counters], [{ 'forwarded-nat': 1 }, { reply: 1 }]);
});

both('leaving, a client port that is used again after its flow has ended is new', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
  const syn = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
  world.run('weir_up_in', syn);
  world.run('weir_up_in', syn.flags('RST'));
  leave(world);
  happened(t, world.run('weir_up_in', syn), { verdict: 'TC_ACT_OK', untouched: syn });
  const answer = tcp(end(r.pod1, 8080), end(r.client, 40000), 'SYN', 'ACK');
  for (const [hook, device] of [
    ['weir_pod_in', 'pod1'],
    ['weir_up_out', 'up0'],
  ] as const)
    happened(t, world.run(hook, answer, device), { verdict: 'TC_ACT_OK', untouched: answer });
  const next = syn.flags('ACK').data('x');
  happened(t, world.run('weir_up_in', next), { verdict: 'TC_ACT_OK', untouched: next });
  join(world);
  happened(t, world.run('weir_up_in', next), { verdict: 'TC_ACT_OK', untouched: next });
});

both('leaving, what comes through a tunnel of a node that has not changed is served', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], forwarding: 'dsr' });
  leave(world);
  const inner = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
  const outcome = world.run('weir_up_in', tunnelled(r.node2, r.pod1, inner));
  t.like(outcome.packet, { ip: { source: r.client, destination: r.pod1 } });
});

both('leaving, sources are no longer compared with a list that nobody keeps up', (t, world, r) => {
  const packet = tcp(end(r.stranger, 40000), end(r.client, 80), 'SYN');
  t.is(world.run('weir_pod_in', packet, 'pod1').verdict, 'TC_ACT_SHOT');
  leave(world);
  happened(t, world.run('weir_pod_in', packet, 'pod1'), { verdict: 'TC_ACT_OK', untouched: packet });
});
