/** Least connections, and the loads that it compares. */
import { ticksPerSecond } from '../../src/loader/clock.js';
import type { Ip } from '../../src/core/net.js';
import { tcp, udp } from './frames.js';
import type { Outcome, Program, World } from './harness.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const SECOND = BigInt(ticksPerSecond());

function chosen(outcome: Outcome): string | undefined {
  return outcome.flows.find(({ kind }) => kind === 'FORWARD')?.address.replace(/^\[?(.*?)\]?:\d+$/, '$1');
}

const syn = (r: Roster, port: number) => tcp(end(r.client, port), end(r.vip, 80), 'SYN');

/** Opens a connection from each port in turn. */
function open(
  world: World,
  r: Roster,
  ports: readonly number[],
  program: Program = 'weir_up_in',
): (string | undefined)[] {
  return ports.map((port) => chosen(world.run(program, syn(r, port))));
}

const range = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => first + i);

/** Live flows as the programs count them. */
function loads(world: World, backends: readonly Ip[]): number[] {
  const { weir_backends, weir_loads } = world.seen.tables;
  const ids = new Map([...weir_backends.entries()].map(([id, { address }]) => [address, id]));
  return backends.map((address) => weir_loads.get(ids.get(address) ?? 0)?.flows ?? -1);
}

for (const program of ['weir_xdp', 'weir_up_in'] as const) {
  for (const forwarding of ['nat', 'dsr'] as const) {
    both(`lc gives each new flow to the backend with the fewest (${forwarding}, ${program})`, (t, world, r) => {
      world.serve({ frontends: [r.vip], endpoints: [...r.remote], scheduler: 'lc', forwarding });
      t.deepEqual(open(world, r, range(40000, 5), program), [...r.remote, r.remote[0], r.remote[1]]);
      t.deepEqual(loads(world, r.remote), [2, 2, 1]);
      world.run(program, syn(r, 40000).flags('RST')); // the first backend's
      world.run(program, syn(r, 40003).flags('FIN', 'ACK'));
      t.deepEqual(loads(world, r.remote), [0, 2, 1]);
      t.deepEqual(open(world, r, range(41000, 4), program), [r.remote[0], r.remote[2], r.remote[0], r.remote[1]]);
      t.deepEqual(loads(world, r.remote), [2, 3, 2]);
    });
  }
}

both('lc breaks ties in rotation, also where one backend is busier than the others', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [...r.remote], scheduler: 'lc' });
  const seen = range(40000, 6).map((port) => {
    const backend = chosen(world.run('weir_up_in', syn(r, port)));
    world.run('weir_up_in', syn(r, port).flags('RST'));
    return backend;
  });
  t.deepEqual(seen, [...r.remote, ...r.remote]);
  world.run('weir_up_in', syn(r, 41000)); // the first stays busy
  const others = range(42000, 4).map((port) => {
    const backend = chosen(world.run('weir_up_in', syn(r, port)));
    world.run('weir_up_in', syn(r, port).flags('RST'));
    return backend;
  });
  t.deepEqual(others, [r.remote[1], r.remote[2], r.remote[1], r.remote[2]]);
});

both('lc weighs: a backend of weight 3 holds three flows for each of weight 1', (t, world, r) => {
  const [a, b, c] = r.remote;
  world.serve({ frontends: [r.vip], endpoints: [a, b, c], scheduler: 'lc', weights: `${a}=3, ${c}=0` });
  const taken = open(world, r, range(40000, 40));
  t.is(taken.filter((backend) => backend === a).length, 30);
  t.is(taken.filter((backend) => backend === b).length, 10);
  t.deepEqual(loads(world, r.remote), [30, 10, 0]);
});

both('lc knows the flows that were there before it: a change of the scheduler counts nothing twice', (t, world, r) => {
  const service = { frontends: [r.vip], endpoints: [...r.remote] } as const;
  world.serve({ ...service, endpoints: [r.remote[0]] });
  open(world, r, range(40000, 3));
  world.serve({ ...service, scheduler: 'lc' });
  t.deepEqual(loads(world, r.remote), [3, 0, 0]);
  const taken = open(world, r, range(41000, 6));
  t.deepEqual(new Set(taken), new Set([r.remote[1], r.remote[2]]));
  world.run('weir_up_in', syn(r, 40000).flags('ACK'));
  t.is(world.seen.flows().filter(({ address, kind }) => kind === 'FORWARD' && address.includes(r.remote[0])).length, 3);
});

both('lc counts a client that uses its port again once', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1, r.pod2], scheduler: 'lc' });
  world.run('weir_up_in', syn(r, 40000));
  world.run('weir_up_in', syn(r, 40000));
  world.run('weir_xdp', syn(r, 40000));
  t.deepEqual(loads(world, [r.pod1, r.pod2]), [1, 0]);
  world.run('weir_up_out', tcp(end(r.pod1, 8080), end(r.client, 40000), 'RST'));
  t.deepEqual(loads(world, [r.pod1, r.pod2]), [0, 0], "the pod's reset ends the flow");
  world.run('weir_up_in', syn(r, 40000));
  t.deepEqual(loads(world, [r.pod1, r.pod2]), [0, 1]);
});

both('UDP flows count until they are swept', async (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1, r.pod2], scheduler: 'lc', protocol: 'UDP' });
  for (const port of range(40000, 3)) world.run('weir_up_in', udp(end(r.client, port), end(r.vip, 80)));
  t.deepEqual(loads(world, [r.pod1, r.pod2]), [2, 1]);
  world.seen.age((flow) => ({ ...flow, seen: flow.seen - 100n * SECOND }));
  await world.sweep();
  t.deepEqual(loads(world, [r.pod1, r.pod2]), [0, 0]);
});

both('the sweep counts anew what the kernel has evicted, and falsifies nothing', async (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [...r.remote], scheduler: 'lc', forwarding: 'dsr' });
  open(world, r, range(40000, 9));
  await world.sweep();
  t.deepEqual(loads(world, r.remote), [3, 3, 3], 'where nothing was lost nothing changes');
  let spared = 0;
  world.seen.age((flow) => (spared++ % 3 === 0 ? flow : undefined)); // as the LRU does: nobody is told
  const left = r.remote.map((ip) => world.seen.flows().filter(({ address }) => address.includes(ip)).length);
  t.deepEqual(loads(world, r.remote), [3, 3, 3]);
  await world.sweep();
  t.deepEqual(loads(world, r.remote), left);
});
