/** Session affinity, and the schedulers that hash an address. */
import { ticksPerSecond } from '../../src/loader/clock.js';
import type { Scheduler } from '../../src/core/model.js';
import { SCHEDULERS } from '../../src/core/model.js';
import type { Ip } from '../../src/core/net.js';
import { tcp } from './frames.js';
import type { Outcome, Program, World } from './harness.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const SECOND = BigInt(ticksPerSecond());

function chosen(outcome: Outcome): string | undefined {
  return outcome.flows.find(({ kind }) => kind === 'FORWARD')?.address.replace(/^\[?(.*?)\]?:\d+$/, '$1');
}

interface Flow {
  readonly client?: Ip;
  readonly vip?: Ip;
  readonly program?: Program;
}

let port = 20000;
/** Where a new connection, always from another port, goes. */
function connects(world: World, r: Roster, { client = r.client, vip = r.vip, program = 'weir_up_in' }: Flow = {}) {
  return chosen(world.run(program, tcp(end(client, ++port), end(vip, 80), 'SYN')));
}

const times = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));

/** Addresses beside this one. */
const clients = (r: Roster, count: number): Ip[] =>
  times(count, (i) => r.client.replace(/7$/, r.family === 'IPv4' ? `${20 + i}` : (0x20 + i).toString(16)) as Ip);

function pass(world: World, seconds: number): void {
  const { weir_affinity } = world.seen.tables;
  for (const [key, value] of [...weir_affinity.entries()])
    weir_affinity.set(key, { ...value, seen: value.seen - BigInt(seconds) * SECOND });
}

for (const scheduler of SCHEDULERS) {
  both(`a client keeps its backend with session affinity, others do not follow it (${scheduler})`, (t, world, r) => {
    world.serve({ frontends: [r.vip, r.otherVip], endpoints: [...r.remote], scheduler, affinity: 100 });
    const programs = ['weir_xdp', 'weir_up_in'] as const;
    for (const client of [r.client, r.otherClient]) {
      const first = connects(world, r, { client });
      const later = times(6, (i) =>
        connects(world, r, { client, program: programs[i % 2]!, vip: i > 3 ? r.otherVip : r.vip }),
      );
      t.deepEqual(new Set(later), new Set([first]), 'one backend, by either hook and by every frontend');
    }
    if (scheduler === 'dh') return; // all clients of an address share its backend
    t.true(new Set(clients(r, 12).map((client) => connects(world, r, { client }))).size > 1);
  });

  both(`affinity ends with its time, and every new flow renews it (${scheduler})`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], scheduler, affinity: 100 });
    t.is(connects(world, r), r.remote[0]);
    world.serve({ frontends: [r.vip], endpoints: [...r.remote], scheduler, affinity: 100 });
    for (const _ of times(4, () => 0)) {
      pass(world, 90);
      t.is(connects(world, r), r.remote[0]);
    }
    if (scheduler !== 'rr') return; // the others may choose the same again
    for (const next of [r.remote[0], r.remote[1]]) {
      pass(world, 100);
      t.is(connects(world, r), next, 'it has its turn like any other');
    }
  });

  both(`affinity to an endpoint that has left, or takes nothing new, counts no more (${scheduler})`, (t, world, r) => {
    const [a, b, c] = r.remote;
    const service = { frontends: [r.vip], scheduler, affinity: 1000 } as const;
    world.serve({ ...service, endpoints: [a] });
    t.is(connects(world, r), a);
    world.serve({ ...service, endpoints: [b, c], terminating: [a] });
    const second = connects(world, r);
    t.true(second === b || second === c);
    world.serve({ ...service, endpoints: [a, b, c], weights: `${second}=0` });
    const third = connects(world, r);
    t.not(third, second);
    t.is(connects(world, r), third);
  });
}

both('affinity counts by the list in force: Local for clients outside, Cluster for those inside', (t, world, r) => {
  const service = { frontends: [r.vip], scheduler: 'rr', affinity: 1000, policy: 'Local' } as const;
  world.serve({ ...service, endpoints: [r.remote[0]] });
  const inside = (port: number) =>
    chosen(world.run('weir_pod_in', tcp(end(r.pod2, port), end(r.vip, 80), 'SYN'), 'pod2'));
  t.is(inside(30000), r.remote[0]);
  world.serve({ ...service, endpoints: [r.remote[0], r.pod1] });
  t.is(inside(30001), r.remote[0], 'still in the list for clients of this node');
  t.is(connects(world, r), r.pod1, 'outside, only the local one is');
});

both('affinity is switched on and off live, and flows go on', (t, world, r) => {
  const service = { frontends: [r.vip], endpoints: [...r.remote], scheduler: 'rr' } as const;
  world.serve(service);
  const syn = tcp(end(r.client, 19999), end(r.vip, 80), 'SYN');
  t.is(chosen(world.run('weir_up_in', syn)), r.remote[0]);
  world.serve({ ...service, affinity: 60 });
  const kept = connects(world, r);
  t.deepEqual(
    times(3, () => connects(world, r)),
    [kept, kept, kept],
  );
  world.serve(service);
  t.is(new Set(times(3, () => connects(world, r))).size, 3);
  t.deepEqual(world.run('weir_up_in', syn.flags('ACK')).flows, [], 'the first flow is known still');
});

both('a flood records nothing, and its clients keep their backends all the same', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [...r.remote], forwarding: 'dsr', affinity: 1000 });
  world.configure({ floodRate: 1 });
  const destination = (frame: Buffer) => (r.family === 'IPv4' ? frame.subarray(30, 34) : frame.subarray(38, 54));
  let unrecorded = 0;
  const recorded = new Set<Ip>();
  for (const client of clients(r, 6)) {
    const outcomes = times(4, (i) => world.run('weir_xdp', tcp(end(client, 31000 + i), end(r.vip, 80), 'SYN')));
    for (const { counters, flows, frame } of outcomes) {
      t.deepEqual(destination(frame), destination(outcomes[0]!.frame));
      if (counters['unrecorded'] !== 1)
        recorded.add(client); // the first of a second on a core
      else {
        unrecorded++;
        t.deepEqual(flows, []);
      }
    }
  }
  t.true(unrecorded > 0);
  t.is([...world.seen.tables.weir_affinity.entries()].length, recorded.size);
});

both('an affinity to another backend than the hash says is recorded under a flood too', (t, world, r) => {
  const service = { frontends: [r.vip], forwarding: 'dsr', affinity: 1000 } as const;
  const hashed = new Map<Ip, string | undefined>();
  world.serve({ ...service, endpoints: [...r.remote] });
  for (const client of clients(r, 6)) hashed.set(client, connects(world, r, { client }));
  const [client] = [...hashed].find(([, backend]) => backend !== r.remote[0])!;
  world.seen.forget();
  world.serve({ ...service, endpoints: [r.remote[0]] });
  t.is(connects(world, r, { client }), r.remote[0]);
  world.serve({ ...service, endpoints: [...r.remote] });
  world.configure({ floodRate: 1 });
  times(3, () => connects(world, r, { client: r.otherClient }));
  t.is(connects(world, r, { client }), r.remote[0]);
});

both('sh: all flows of a client go to one backend, whatever their ports and frontends', (t, world, r) => {
  world.serve({ frontends: [r.vip, r.otherVip], endpoints: [...r.remote], scheduler: 'sh' });
  const of = (client: Ip) =>
    new Set(
      times(6, (i) =>
        connects(world, r, { client, vip: i % 2 ? r.vip : r.otherVip, program: i > 2 ? 'weir_xdp' : 'weir_up_in' }),
      ),
    );
  const taken = clients(r, 12).map(of);
  t.true(taken.every((backends) => backends.size === 1));
  t.is(new Set(taken.flatMap((backends) => [...backends])).size, 3);
});

both('dh: all clients of an address go to one backend, and addresses spread', (t, world, r) => {
  const vips = times(
    12,
    (i) => r.vip.replace(/10$/, `1${String.fromCharCode(r.family === 'IPv4' ? 48 + (i % 10) : 97 + (i % 6))}`) as Ip,
  );
  const frontends = [...new Set(vips)];
  world.serve({ frontends, endpoints: [...r.remote], scheduler: 'dh' });
  const taken = frontends.map((vip) => new Set(clients(r, 4).map((client) => connects(world, r, { client, vip }))));
  t.true(taken.every((backends) => backends.size === 1));
  t.true(new Set(taken.flatMap((backends) => [...backends])).size > 1);
});

for (const scheduler of ['sh', 'dh'] as const satisfies readonly Scheduler[]) {
  both(`${scheduler} needs no record: under a flood nothing is recorded, and choices are the same`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [...r.remote], scheduler, forwarding: 'dsr' });
    world.configure({ floodRate: 1 });
    const outcomes = times(10, (i) => world.run('weir_xdp', tcp(end(r.client, 31000 + i), end(r.vip, 80), 'SYN')));
    const unrecorded = outcomes.filter(({ counters }) => counters['unrecorded'] === 1);
    t.true(unrecorded.length > 0);
    t.true(unrecorded.every(({ flows }) => flows.length === 0));
    const places = outcomes.map(({ packet }) =>
      JSON.stringify(packet['outer'] ?? packet['ip']).replace(/"id":\d+/, ''),
    );
    t.is(new Set(places).size, 1);
  });
}

both('weights: shares of new flows are in proportion, and 0 takes nothing new but keeps its flows', (t, world, r) => {
  const [a, b, c] = r.remote;
  const weights = `${a}=3,${b}=1, ${c} = 0`;
  const service = { frontends: [r.vip], endpoints: [a, b, c] };
  for (const scheduler of ['rr', 'random', 'maglev'] as const) {
    world.seen.forget();
    world.serve({ ...service, endpoints: [c], scheduler });
    const held = tcp(end(r.client, 19998), end(r.vip, 80), 'SYN');
    t.is(chosen(world.run('weir_up_in', held)), c);
    world.serve({ ...service, scheduler, weights });
    const taken = times(120, () => connects(world, r));
    const share = taken.filter((backend) => backend === a).length;
    t.false(taken.includes(c), scheduler);
    t.true(scheduler === 'rr' ? share === 90 : share > 66 && share < 112, `${scheduler}: ${share} of 120`);
    if (scheduler === 'rr') t.deepEqual(taken.slice(0, 4), [a, a, b, a]);
    t.deepEqual(world.run('weir_up_in', held.flags('ACK')).flows, []);
    t.is(world.seen.flows().filter(({ address, kind }) => kind === 'FORWARD' && address.includes(c)).length, 1);
  }
});

both('where every weight is 0, new flows are refused', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], weights: `${r.remote[0]}=0` });
  const outcome = world.run('weir_up_in', tcp(end(r.client, 40000), end(r.vip, 80), 'SYN'));
  t.deepEqual(outcome.counters, { 'no-endpoint': 1 });
});
