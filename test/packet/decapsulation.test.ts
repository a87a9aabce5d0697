/** Direct server return, at the backend's node: what comes out of the tunnel, and the way of the reply. */
import { formatSocket } from '../../src/core/net.js';
import { happened, passedUntouched } from './expect.js';
import {
  ETHERNET,
  NO_OPERATION,
  other,
  type Packet,
  SACK_PERMITTED,
  segmentSize,
  tcp,
  TIMESTAMPS,
  tunnelled,
  udp,
} from './frames.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const DSR = { forwarding: 'dsr' } as const;
const SENT = 'TC_ACT_REDIRECT';

const request = (r: Roster): Packet => tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
const opened = (r: Roster, packet: Packet): Packet => packet.to(end(r.pod1, 8080)).routed();

both('a packet from another node is opened and goes to the pod, on the port that it listens on', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...DSR });
  const outcome = world.run('weir_up_in', tunnelled(r.node2, r.pod1, request(r)));
  happened(t, outcome, { verdict: SENT, packet: opened(r, request(r)), counters: { decapsulated: 1 } });
  const common = { table: 'flows', state: 'NEW', forwarding: 'DSR', flags: 'FAST LOCAL' };
  const [client, vip, pod] = [formatSocket(r.client, 40000), formatSocket(r.vip, 80), formatSocket(r.pod1, 8080)];
  t.like(outcome.flows[0], { ...common, kind: 'FORWARD', key: `TCP ${client} > ${vip}`, address: pod });
  t.like(outcome.flows[1], { ...common, kind: 'REPLY', key: `TCP ${pod} > ${client}`, address: vip });
  t.is(outcome.flows.length, 2);
});

both('a box named by --dsr-sources is accepted like a node', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...DSR });
  const outcome = world.run('weir_up_in', tunnelled(r.director, r.pod1, request(r)));
  happened(t, outcome, { verdict: SENT, packet: opened(r, request(r)), counters: { decapsulated: 1 } });
});

both('UDP comes out of the tunnel, with or without a checksum', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], protocol: 'UDP', ...DSR });
  const datagram = udp(end(r.client, 40000), end(r.vip, 80));
  const portless = datagram.from(end(r.client, 0)); // RFC 768: the source port is optional
  for (const packet of [datagram, datagram.withoutChecksum(), portless]) {
    const outcome = world.run('weir_up_in', tunnelled(r.node2, r.pod1, packet));
    happened(t, outcome, { verdict: SENT, packet: opened(r, packet), counters: { decapsulated: 1 } });
  }
});

both("what comes out keeps the device's own sum right", (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...DSR });
  const outcome = world.runSummed('weir_up_in', tunnelled(r.node2, r.pod1, request(r)));
  happened(t, outcome, { verdict: SENT, packet: opened(r, request(r)), counters: { decapsulated: 1 } });
});

both('the tunnel header may have options', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...DSR });
  const plain = tunnelled(r.node2, r.pod1, request(r));
  const outer =
    r.family === 'IPv4' ? plain.ipOptions(Uint8Array.of(1, 1, 1, 1)) : plain.extensions({ type: 60, size: 8 });
  happened(t, world.run('weir_up_in', outer), {
    verdict: SENT,
    packet: opened(r, request(r)),
    counters: { decapsulated: 1 },
  });
});

both('a tunnel from a stranger is dropped', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...DSR });
  const packet = tunnelled(r.stranger, r.pod1, request(r));
  happened(t, world.run('weir_up_in', packet), {
    verdict: 'TC_ACT_SHOT',
    counters: { 'dsr-source': 1 },
    drops: [{ reason: 'dsr-source', hook: 'UP_IN', ifindex: world.ifindex('up0') }],
  });
  t.deepEqual(world.seen.flows(), []);
});

both('a tunnel to an address that is no endpoint here, or to the node itself, is left alone', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...DSR });
  for (const packet of [tunnelled(r.stranger, r.remote[0], request(r)), tunnelled(r.stranger, r.node, request(r))]) {
    passedUntouched(t, world.run('weir_up_in', packet), packet);
  }
});

const REFUSED: readonly { readonly name: string; readonly packet: (r: Roster) => Packet }[] = [
  { name: 'for an address that nobody serves', packet: (r) => tcp(end(r.client, 40000), end(r.otherVip, 80), 'SYN') },
  { name: 'for a port that nobody serves', packet: (r) => tcp(end(r.client, 40000), end(r.vip, 81), 'SYN') },
  { name: 'for the pod itself', packet: (r) => tcp(end(r.client, 40000), end(r.pod1, 8080), 'SYN') },
  {
    name: 'for a service that this pod does not back',
    packet: (r) => tcp(end(r.client, 40000), end(r.clusterIp, 80), 'SYN'),
  },
  { name: 'for a service that is translated', packet: (r) => tcp(end(r.client, 40000), end(r.vip, 88), 'SYN') },
  { name: 'of another protocol', packet: (r) => other(r.client, r.vip, 47) },
];

for (const { name, packet } of REFUSED) {
  both(`a tunnelled packet ${name} is dropped`, (t, world, r) => {
    world.serve(
      { frontends: [r.vip], endpoints: [r.pod1], ...DSR },
      { name: 'translated', frontends: [r.vip], port: 88, endpoints: [r.pod1] },
      { name: 'elsewhere', frontends: [r.clusterIp], endpoints: [r.pod2], ...DSR },
    );
    const outcome = world.run('weir_up_in', tunnelled(r.node2, r.pod1, packet(r)));
    happened(t, outcome, { verdict: 'TC_ACT_SHOT', counters: { 'dsr-frontend': 1 }, drops: ['dsr-frontend'] });
    t.deepEqual(world.seen.flows(), []);
  });
}

both('a tunnelled packet that is cut or none at all is dropped', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...DSR });
  const nothing = other(r.node2, r.pod1, r.tunnelProtocol, Buffer.alloc(r.headerSize - 1));
  const garbage = other(r.node2, r.pod1, r.tunnelProtocol, Buffer.alloc(64));
  const cut = tunnelled(r.node2, r.pod1, request(r)).cut(2 * r.headerSize + 10);
  for (const packet of [nothing, garbage, cut]) {
    const outcome = world.run('weir_up_in', packet);
    happened(t, outcome, { verdict: 'TC_ACT_SHOT', counters: { malformed: 1 }, drops: ['malformed'] });
  }
});

both('a node port is opened under the address of the node that the client reached', (t, world, r) => {
  world.serve({ frontends: [], kind: 'NodePort', nodePort: 30080, endpoints: [r.pod1], ...DSR });
  const packet = tcp(end(r.client, 40000), end(r.node2, 30080), 'SYN');
  const outcome = world.run('weir_up_in', tunnelled(r.node2, r.pod1, packet));
  happened(t, outcome, { verdict: SENT, packet: opened(r, packet), counters: { decapsulated: 1 } });
  const reply = tcp(end(r.pod1, 8080), end(r.client, 40000), 'SYN', 'ACK');
  happened(t, world.run('weir_up_out', reply), {
    verdict: 'TC_ACT_OK',
    packet: reply.from(end(r.node2, 30080)),
    counters: { reply: 1 },
  });
});

both("a node port's tunnel is not opened for an address of nobody's node", (t, world, r) => {
  world.serve({ frontends: [], kind: 'NodePort', nodePort: 30080, endpoints: [r.pod1], ...DSR });
  const packet = tcp(end(r.client, 40000), end(r.stranger, 30080), 'SYN');
  const outcome = world.run('weir_up_in', tunnelled(r.node2, r.pod1, packet));
  happened(t, outcome, { verdict: 'TC_ACT_SHOT', counters: { 'dsr-frontend': 1 }, drops: ['dsr-frontend'] });
});

both("the pod's reply passes by the stack and leaves the uplink with the service's address", (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...DSR });
  world.run('weir_up_in', tunnelled(r.node2, r.pod1, request(r)));
  const reply = tcp(end(r.pod1, 8080), end(r.client, 40000), 'SYN', 'ACK');
  const atPod = world.run('weir_pod_in', reply, 'pod1');
  happened(t, atPod, { verdict: SENT, packet: reply.routed() });
  const outcome = world.run('weir_up_out', reply.routed());
  const expected = reply.routed().from(end(r.vip, 80));
  happened(t, outcome, { verdict: 'TC_ACT_OK', packet: expected, counters: { reply: 1 } });
});

both('the next packets of the connection go to the same pod', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1, r.pod2], ...DSR });
  world.run('weir_up_in', tunnelled(r.node2, r.pod1, request(r)));
  const data = request(r).flags('ACK').data('more');
  const outcome = world.run('weir_up_in', tunnelled(r.node2, r.pod1, data));
  happened(t, outcome, { verdict: SENT, packet: opened(r, data), counters: { decapsulated: 1 } });
  t.deepEqual(outcome.flows, []);
});

both('a new choice of the other node wins over what is recorded here', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1, r.pod2], ...DSR });
  world.run('weir_up_in', tunnelled(r.node2, r.pod1, request(r)));
  const outcome = world.run('weir_up_in', tunnelled(r.node2, r.pod2, request(r)));
  const expected = request(r).to(end(r.pod2, 8080)).routed();
  happened(t, outcome, { verdict: SENT, packet: expected, counters: { decapsulated: 1 } });
  const reply = tcp(end(r.pod2, 8080), end(r.client, 40000), 'SYN', 'ACK');
  t.like(world.run('weir_up_out', reply).packet, { ip: { source: r.vip } });
});

interface Offer {
  readonly name: string;
  readonly options: (size: number) => Uint8Array[];
}
const OFFERS: readonly Offer[] = [
  { name: 'alone', options: (size) => [segmentSize(size)] },
  { name: 'behind others', options: (size) => [SACK_PERMITTED, TIMESTAMPS, segmentSize(size)] },
  { name: 'at an odd place', options: (size) => [NO_OPERATION, segmentSize(size), SACK_PERMITTED, NO_OPERATION] },
  {
    name: 'at the very end',
    options: (size) => [
      TIMESTAMPS,
      TIMESTAMPS,
      TIMESTAMPS,
      SACK_PERMITTED,
      SACK_PERMITTED,
      NO_OPERATION,
      NO_OPERATION,
      segmentSize(size),
    ],
  },
];

for (const { name, options } of OFFERS) {
  both(`the segment size that a pod offers (${name}) is lowered to what fits into the tunnel`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...DSR });
    world.run('weir_up_in', tunnelled(r.node2, r.pod1, request(r)));
    const fits = 1500 - 2 * r.headerSize - 20; // 1440 and 1400
    const accept = tcp(end(r.pod1, 8080), end(r.client, 40000), 'SYN', 'ACK');
    for (const [offered, sent] of [
      [1460, fits],
      [fits + 1, fits],
      [fits, fits],
      [536, 536],
    ] as const) {
      const reply = accept.options(...options(offered));
      const expected = accept.from(end(r.vip, 80)).options(...options(sent));
      const outcome = world.run('weir_up_out', reply);
      happened(t, outcome, { verdict: 'TC_ACT_OK', packet: expected, counters: { reply: 1 } });
      t.is(world.runSummed('weir_up_out', reply).verdict, 'TC_ACT_OK');
    }
  });
}

both('options that make no sense are left as they are', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...DSR });
  world.run('weir_up_in', tunnelled(r.node2, r.pod1, request(r)));
  const accept = tcp(end(r.pod1, 8080), end(r.client, 40000), 'SYN', 'ACK');
  const odd = [
    [],
    [Uint8Array.of(0, 0, 0, 0)],
    [Uint8Array.of(5, 0, 2, 4)],
    [Uint8Array.of(1, 1, 1, 2)],
    [Uint8Array.of(8, 40, 0, 0)],
    [Uint8Array.of(...Array<number>(37).fill(1), 2, 4, 255)], // a segment size that ends behind the header
  ];
  for (const options of odd) {
    const outcome = world.run('weir_up_out', accept.options(...options));
    const packet = accept.from(end(r.vip, 80)).options(...options);
    happened(t, outcome, { verdict: 'TC_ACT_OK', packet, counters: { reply: 1 } });
  }
});

both('the segment size of a connection that is translated stays as it is', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
  world.run('weir_up_in', request(r));
  const reply = tcp(end(r.pod1, 8080), end(r.client, 40000), 'SYN', 'ACK').options(segmentSize(1460));
  const outcome = world.run('weir_up_out', reply);
  happened(t, outcome, { verdict: 'TC_ACT_OK', packet: reply.from(end(r.vip, 80)), counters: { reply: 1 } });
});

both('XDP leaves tunnels to TC', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...DSR });
  const packet = tunnelled(r.node2, r.pod1, request(r));
  passedUntouched(t, world.run('weir_xdp', packet), packet);
  t.is(packet.bytes().length, ETHERNET + 2 * r.headerSize + 20);
});
