/** While another dataplane serves this node as well: each goes on with the connections that it has, and one takes what is new. */
import { keepAffinity, leaveFlows } from '../../src/agent/clients-of-ipvs.js';
import type { Ip, Protocol } from '../../src/core/net.js';
import type { Connection } from '../../src/ipvs/connections.js';
import { ticksPerSecond } from '../../src/loader/clock.js';
import { STAGE } from '../../src/maps/layout.js';
import { happened } from './expect.js';
import { type End, sctp, tcp, tunnelled, udp } from './frames.js';
import type { World } from './harness.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const LATER = 1n << 60n;

const leave = (world: World): void => world.configure({ stage: STAGE.LEAVING });
const join = (world: World, until = LATER): void => world.configure({ stage: STAGE.JOINING, stageUntil: until });

/** A flow of a service with its backend, as IPVS tells of it. */
function known(protocol: Protocol, client: End, frontend: End, backend: End): Connection {
  const socket = ({ ip, port }: End) => ({ address: ip, port });
  const ends = { client: socket(client), frontend: socket(frontend), backend: socket(backend) };
  return { protocol, ...ends, state: protocol, expires: 100 };
}

/** As BPF takes over, these are left to the other dataplane. Returns of how many that was written down. */
async function leaveTo(world: World, ...connections: Connection[]): Promise<number> {
  return leaveFlows(world.root, connections, (await world.sweep()).ticks);
}

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

both('what comes through a tunnel that names a pod is left to the other dataplane as well', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1, r.pod2], forwarding: 'dsr' });
  const syn = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
  const [first, next] = [syn, syn.flags('ACK').data('x')].map((inner) => tunnelled(r.node2, r.pod1, inner));
  leave(world);
  for (const packet of [first!, next!])
    happened(t, world.run('weir_up_in', packet), { verdict: 'TC_ACT_OK', untouched: packet });
  join(world);
  happened(t, world.run('weir_up_in', next!), { verdict: 'TC_ACT_OK', untouched: next! });
  t.like(world.run('weir_up_in', first!).packet, { ip: { source: r.client, destination: r.pod1 } });
  leave(world);
  t.like(world.run('weir_up_in', next!).packet, { ip: { destination: r.pod1 } }, 'known flows go on');
});

both('leaving, sources are no longer compared with a list that nobody keeps up', (t, world, r) => {
  const packet = tcp(end(r.stranger, 40000), end(r.client, 80), 'SYN');
  t.is(world.run('weir_pod_in', packet, 'pod1').verdict, 'TC_ACT_SHOT');
  leave(world);
  happened(t, world.run('weir_pod_in', packet, 'pod1'), { verdict: 'TC_ACT_OK', untouched: packet });
});

for (const { name, hooks, device, client } of PLACES) {
  both(
    `joining, a flow of datagrams from ${name} that the other dataplane knows is left to it until its time is over`,
    async (t, world, r) => {
      const [frontend, elsewhere] = [end(r.vip, 80), r.remote[0]];
      world.serve(
        { name: 'dns', protocol: 'UDP', frontends: [r.vip], endpoints: [elsewhere, r.pod2] },
        { name: 'core', protocol: 'SCTP', frontends: [r.vip], endpoints: [elsewhere, r.pod2] },
      );
      const [old, fresh] = [end(client(r), 40000), end(client(r), 40001)];
      const backend = end(elsewhere, 8080);
      t.is(await leaveTo(world, known('UDP', old, frontend, backend), known('SCTP', old, frontend, backend)), 2);
      join(world);
      for (const packet of [udp(old, frontend), sctp(old, frontend)])
        for (const hook of hooks)
          happened(t, world.run(hook, packet, device), { verdict: PASSED[hook], untouched: packet });
      t.is((await world.sweep()).kept, 2);
      for (const packet of [udp(fresh, frontend), sctp(fresh, frontend)])
        t.deepEqual(world.run('weir_up_in', packet).counters, { 'forwarded-nat': 1 });
      join(world, 1n);
      for (const packet of [udp(old, frontend), sctp(old, frontend)]) {
        const outcome = world.run('weir_up_in', packet);
        t.deepEqual(outcome.counters, { 'forwarded-nat': 1 });
        t.is(world.run('weir_up_in', packet).verdict, outcome.verdict);
      }
    },
  );
}

both('joining, a flow is no longer left to the other dataplane when its backend takes no more', async (t, world, r) => {
  const dns = { name: 'dns', protocol: 'UDP', frontends: [r.vip], nodePort: 30053 } as const;
  world.serve({ ...dns, endpoints: [r.pod1, r.pod2] });
  const [client, frontend] = [end(r.client, 40000), end(r.vip, 80)];
  t.is(await leaveTo(world, known('UDP', client, frontend, end(r.pod1, 8080))), 1);
  join(world);
  world.serve({ ...dns, endpoints: [r.pod2], terminating: [r.pod1] });
  await world.sweep();
  t.like(world.run('weir_up_in', udp(client, frontend)).packet, { ip: { destination: r.pod2 } });
});

both('joining, what is ours or cannot be known is not left to the other dataplane', async (t, world, r) => {
  const at = (port: number, frontend = end(r.vip, 80), backend = end(r.pod1, 8080)): Connection =>
    known('UDP', end(r.client, port), frontend, backend);
  world.serve(
    { frontends: [r.vip], endpoints: [r.pod1] },
    { name: 'dns', protocol: 'UDP', frontends: [r.vip], endpoints: [r.pod1] },
    { name: 'ports', protocol: 'UDP', kind: 'NodePort', frontends: [], nodePort: 30053, endpoints: [r.pod1] },
  );
  world.run('weir_up_in', udp(end(r.client, 1), end(r.vip, 80)));
  const [ours, noFrontend, aNode, tcpSegment] = [
    at(1),
    at(2, end(r.vip, 81)),
    at(3, undefined, end(r.node2, 80)),
    { ...at(4), protocol: 'TCP' },
  ];
  t.is(await leaveTo(world, ours, noFrontend, aNode, tcpSegment), 0);
  t.is(await leaveTo(world, at(5, end(r.node, 30053))), 1);
  join(world);
  for (const port of [1, 3]) {
    const packet = udp(end(r.client, port), end(r.vip, 80));
    t.like(world.run('weir_up_in', packet).packet, { ip: { destination: r.pod1 } });
  }
  const asked = udp(end(r.client, 5), end(r.node, 30053));
  happened(t, world.run('weir_up_in', asked), { verdict: 'TC_ACT_OK', untouched: asked });
});

both(
  'joining, a client that IPVS keeps with its backend stays there, for the time that it had left',
  async (t, world, r) => {
    const [frontend, ...backends] = [r.vip, ...r.remote];
    world.serve({ frontends: [frontend], endpoints: backends, affinity: 100, scheduler: 'rr' });
    const clients = [0, 1, 2, 3, 4, 5].map(
      (i) => [r.client.replace(/7$/, `${i + 1}`) as Ip, backends[i < 3 ? i : 0]!] as const,
    );
    const templates = clients.map(([client, backend], i) => ({
      ...known('TCP', end(client, 0), end(frontend, 80), end(backend, 8080)),
      expires: i < 3 ? 50 : 0,
    }));
    const { ticks } = await world.sweep();
    t.is(keepAffinity(world.root, [...templates, { ...templates[0]!, protocol: 'IP' }], ticks, ticksPerSecond()), 6);
    join(world);
    const went = clients.map(
      ([client]) => world.run('weir_up_in', tcp(end(client, 40000), end(frontend, 80), 'SYN')).flows,
    );
    const kept = went.map((flows, i) =>
      flows.some(({ kind, address }) => kind === 'FORWARD' && address.includes(clients[i]![1])),
    );
    t.deepEqual(kept.slice(0, 3), [true, true, true]);
    t.false(
      kept.slice(3).every((is) => is),
      'the time of these is over',
    );
  },
);
