/** The walk over the flow tables: what is idle or has lost its backend goes, the rest stays. */
import { ticksPerSecond } from '../../src/loader/clock.js';
import { tcp, udp } from './frames.js';
import type { World } from './harness.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const SECOND = BigInt(ticksPerSecond());

/** As if so many seconds went by without a packet. */
function pass(world: World, seconds: number): void {
  world.seen.age((flow) => ({ ...flow, seen: flow.seen - BigInt(seconds) * SECOND }));
}

interface Idle {
  readonly name: string;
  readonly protocol: 'TCP' | 'UDP';
  readonly packets: (world: World, r: Roster) => void;
  /** Seconds after which it goes; bpf/sweep.h names the RFCs. */
  readonly limit: number;
}

const syn = (r: Roster) => tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
const accept = (r: Roster) => tcp(end(r.pod1, 8080), end(r.client, 40000), 'SYN', 'ACK');
function connect(world: World, r: Roster): void {
  world.run('weir_up_in', syn(r));
  world.run('weir_up_out', accept(r));
  world.run('weir_up_in', syn(r).flags('ACK'));
  world.run('weir_up_out', accept(r).flags('ACK'));
}
const question = (r: Roster) => udp(end(r.client, 40000), end(r.vip, 80));
const IDLE: readonly Idle[] = [
  {
    name: 'a TCP connection that was never answered',
    protocol: 'TCP',
    limit: 240,
    packets: (world, r) => world.run('weir_up_in', syn(r)),
  },
  {
    name: 'an established TCP connection',
    protocol: 'TCP',
    limit: 7440,
    packets: connect,
  },
  {
    name: 'a TCP connection that both have ended',
    protocol: 'TCP',
    limit: 10,
    packets: (world, r) => {
      connect(world, r);
      world.run('weir_up_in', syn(r).flags('FIN', 'ACK'));
      world.run('weir_up_out', accept(r).flags('FIN', 'ACK'));
    },
  },
  {
    name: 'a TCP connection that the client has reset',
    protocol: 'TCP',
    limit: 10,
    packets: (world, r) => {
      connect(world, r);
      world.run('weir_up_in', syn(r).flags('RST'));
    },
  },
  {
    name: 'a TCP connection that the pod has reset',
    protocol: 'TCP',
    limit: 10,
    packets: (world, r) => {
      connect(world, r);
      world.run('weir_up_out', accept(r).flags('RST'));
    },
  },
  {
    name: 'a single UDP datagram',
    protocol: 'UDP',
    limit: 60,
    packets: (world, r) => world.run('weir_up_in', question(r)),
  },
];

for (const { name, protocol, limit, packets } of IDLE) {
  both(`${name} is forgotten after ${limit} idle seconds, not before`, async (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.pod1], protocol });
    packets(world, r);
    t.is(world.seen.flows().length, 2);
    pass(world, limit - 5);
    t.like(await world.sweep(), { kept: 2, removed: 0 });
    pass(world, 10);
    t.like(await world.sweep(), { kept: 0, removed: 2 });
    t.deepEqual(world.seen.flows(), []);
  });
}

both('UDP that goes both ways is kept for 300 seconds', async (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], protocol: 'UDP' });
  world.run('weir_up_in', question(r));
  pass(world, 1);
  world.run('weir_up_in', question(r));
  pass(world, 1);
  world.run('weir_up_out', udp(end(r.pod1, 8080), end(r.client, 40000)));
  pass(world, 295);
  t.like(await world.sweep(), { kept: 2, removed: 0 });
  pass(world, 10);
  t.like(await world.sweep(), { kept: 0, removed: 2 });
});

both('packets in one direction keep the whole flow alive', async (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
  world.run('weir_up_in', syn(r));
  const directions = [
    () => world.run('weir_up_out', tcp(end(r.pod1, 8080), end(r.client, 40000), 'SYN', 'ACK')),
    () => world.run('weir_up_in', syn(r)),
  ];
  for (const packet of directions) {
    pass(world, 200);
    packet();
    pass(world, 100);
    t.like(await world.sweep(), { kept: 2, removed: 0 });
  }
});

both('packets in one direction keep a translated source alive', async (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]] });
  const { packet } = world.run('weir_up_in', syn(r));
  const { source: port } = packet['tcp'] as { source: number };
  const directions = [
    () => world.run('weir_up_in', tcp(end(r.remote[0], 8080), end(r.node, port), 'SYN', 'ACK')),
    () => world.run('weir_xdp', tcp(end(r.remote[0], 8080), end(r.node, port), 'SYN', 'ACK')),
    () => world.run('weir_up_in', syn(r)),
    () => world.run('weir_xdp', syn(r)),
  ];
  for (const packet of directions) {
    pass(world, 200);
    packet();
    pass(world, 100);
    t.like(await world.sweep(), { kept: 2, removed: 0 });
  }
  pass(world, 200);
  t.like(await world.sweep(), { kept: 0, removed: 2 });
});

both('flows whose backend is gone for good go at once, those of others stay', async (t, world, r) => {
  world.serve(
    { frontends: [r.vip], endpoints: [r.remote[0]] },
    { name: 'other', frontends: [r.otherVip], endpoints: [r.pod1] },
  );
  world.run('weir_up_in', syn(r));
  world.run('weir_up_in', syn(r).to(end(r.otherVip, 80)));
  t.is(world.seen.flows().length, 4);
  world.withdraw('web');
  t.like(await world.sweep(), { kept: 2, removed: 2 });
  t.true(
    world.seen.flows().every(({ table }) => table === 'flows'),
    'the translated source is free again',
  );
});

both('a terminating endpoint keeps its TCP connections and loses its UDP flows', async (t, world, r) => {
  world.serve(
    { frontends: [r.vip], endpoints: [r.pod1] },
    { name: 'udp', frontends: [r.vip], endpoints: [r.pod1], protocol: 'UDP' },
  );
  world.run('weir_up_in', syn(r));
  world.run('weir_up_in', question(r));
  const terminating = { frontends: [r.vip], endpoints: [r.pod2], terminating: [r.pod1] };
  world.serve(terminating, { name: 'udp', ...terminating, protocol: 'UDP' });
  t.like(await world.sweep(), { kept: 2, removed: 2 });
  t.true(world.seen.flows().every(({ key }) => key.startsWith('TCP')));
});
