/** Clients out there, backends on other nodes: both ends of the packet are replaced on the way there and on the way back. */
import { formatSocket, type Ip } from '../../src/core/net.js';
import { ticksPerSecond } from '../../src/loader/clock.js';
import { happened, passedUntouched, sourcePort } from './expect.js';
import { type End, type Packet, sctp, segmentSize, tcp, TIMESTAMPS, udp } from './frames.js';
import type { Program } from './harness.js';
import { ip } from './network.js';
import { end, MAC } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const CLIENT_PORT = 40000;
const socket = ({ ip, port }: End): string => formatSocket(ip, port);

interface Hook {
  readonly program: Program & ('weir_xdp' | 'weir_up_in');
  readonly name: string;
  readonly verdict: string;
  /** The MAC addresses that the program itself writes; at TC the kernel does, afterwards. */
  readonly addressed: (packet: Packet, to: string) => Packet;
}

const HOOKS: readonly Hook[] = [
  { program: 'weir_xdp', name: 'at XDP', verdict: 'XDP_TX', addressed: (packet, to) => packet.over(MAC.up0, to) },
  { program: 'weir_up_in', name: 'at TC', verdict: 'TC_ACT_REDIRECT', addressed: (packet) => packet },
];

const PROTOCOLS = [
  {
    protocol: 'TCP',
    first: (from: End, to: End) => tcp(from, to, 'SYN').options(segmentSize(1460), TIMESTAMPS),
    state: 'NEW',
  },
  { protocol: 'UDP', first: (from: End, to: End) => udp(from, to), state: 'NEW' },
] as const;

for (const { program, name, verdict, addressed } of HOOKS) {
  for (const { protocol, first, state } of PROTOCOLS) {
    both(`a ${protocol} client reaches a backend of another node under this node's address ${name}`, (t, world, r) => {
      world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], protocol });
      const [client, vip, backend] = [end(r.client, CLIENT_PORT), end(r.vip, 80), end(r.remote[0], 8080)];
      const packet = first(client, vip);
      const outcome = world.run(program, packet);
      const snat = end(r.node, sourcePort(outcome));
      const counters = { 'forwarded-nat': 1 };
      happened(t, outcome, { verdict, packet: addressed(packet.from(snat).to(backend).routed(), MAC.node2), counters });
      t.is(outcome.bytes, packet.network().length);
      const common = { state, forwarding: 'NAT', flags: 'SNAT' };
      t.deepEqual(outcome.flows, [
        {
          table: 'flows',
          key: `${protocol} ${socket(client)} > ${socket(vip)}`,
          kind: 'FORWARD',
          address: socket(backend),
          nat: socket(snat),
          ...common,
        },
        {
          table: 'snat',
          key: `${protocol} ${socket(backend)} > ${socket(snat)}`,
          kind: 'SNAT_REPLY',
          address: socket(vip),
          nat: socket(client),
          ...common,
        },
      ]);
    });

    both(`the reply to a ${protocol} client carries the service's address ${name}`, (t, world, r) => {
      world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], protocol });
      const [client, vip, backend] = [end(r.client, CLIENT_PORT), end(r.vip, 80), end(r.remote[0], 8080)];
      const snat = end(r.node, sourcePort(world.run(program, first(client, vip))));
      const answer = protocol === 'TCP' ? tcp(backend, snat, 'SYN', 'ACK') : udp(backend, snat, 'answer');
      const outcome = world.run(program, answer);
      const expected = addressed(answer.from(vip).to(client).routed(), MAC.gateway);
      happened(t, outcome, { verdict, packet: expected, counters: { reply: 1 } });
      t.deepEqual(outcome.flows, []);
    });
  }

  both(`a connection keeps its backend and its port when the service gets other backends ${name}`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]] });
    const [client, vip] = [end(r.client, CLIENT_PORT), end(r.vip, 80)];
    const port = sourcePort(world.run(program, tcp(client, vip, 'SYN')));
    world.serve({ frontends: [r.vip], endpoints: [r.remote[1]], terminating: [r.remote[0]] });
    const data = tcp(client, vip, 'ACK', 'PSH').data('GET /\n');
    const outcome = world.run(program, data);
    const expected = addressed(data.from(end(r.node, port)).to(end(r.remote[0], 8080)).routed(), MAC.node2);
    happened(t, outcome, { verdict, packet: expected, counters: { 'forwarded-nat': 1 } });
    t.deepEqual(outcome.flows, []);
    t.is(world.seen.flows()[0]?.state, 'ESTABLISHED');
    const other = world.run(program, tcp(end(r.client, CLIENT_PORT + 1), vip, 'SYN'));
    t.is(other.flows[0]?.address, socket(end(r.remote[1], 8080)));
  });

  both(`a client that uses its port again after closing gets a new flow ${name}`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]] });
    const [client, vip] = [end(r.client, CLIENT_PORT), end(r.vip, 80)];
    world.run(program, tcp(client, vip, 'SYN'));
    world.run(program, tcp(client, vip, 'FIN', 'ACK'));
    t.is(world.seen.flows()[0]?.state, 'CLOSING');
    world.serve({ frontends: [r.vip], endpoints: [r.remote[1]], terminating: [r.remote[0]] });
    const again = world.run(program, tcp(client, vip, 'SYN'));
    t.is(again.verdict, verdict);
    const forward = world.seen.flows().find(({ kind }) => kind === 'FORWARD');
    t.like(forward, { address: socket(end(r.remote[1], 8080)), state: 'NEW' });
  });

  both(`translated ports lie within the range that is set ${name}`, (t, world, r) => {
    world.configure({ snatFirst: 5000, snatCount: 100 });
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]] });
    const ports = Array.from({ length: 40 }, (_, i) =>
      sourcePort(world.run(program, tcp(end(r.client, CLIENT_PORT + i), end(r.vip, 80), 'SYN'))),
    );
    t.true(ports.every((port) => port >= 5000 && port < 5100));
    t.is(new Set(ports).size, ports.length);
  });

  both(`a range without free ports refuses the next client, while the others go on ${name}`, (t, world, r) => {
    world.configure({ snatFirst: 5000, snatCount: 1 });
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]] });
    const [client, vip, next] = [end(r.client, CLIENT_PORT), end(r.vip, 80), end(r.otherClient, CLIENT_PORT)];
    t.is(world.run(program, tcp(client, vip, 'SYN')).verdict, verdict);
    const refused = world.run(program, tcp(next, vip, 'SYN'));
    const hook = program === 'weir_xdp' ? 'XDP' : 'UP_IN';
    const drop = {
      reason: 'snat-full',
      hook,
      packet: `TCP ${r.otherClient} > ${socket(vip)}`,
      ifindex: world.ifindex('up0'),
    };
    happened(t, refused, {
      verdict: program === 'weir_xdp' ? 'XDP_DROP' : 'TC_ACT_SHOT',
      counters: { 'snat-full': 1 },
      drops: [drop],
    });
    t.deepEqual(refused.flows, []);
    const data = tcp(client, vip, 'ACK').data('more');
    const expected = addressed(data.from(end(r.node, 5000)).to(end(r.remote[0], 8080)).routed(), MAC.node2);
    happened(t, world.run(program, data), { verdict, packet: expected, counters: { 'forwarded-nat': 1 } });
  });

  both(`every port of a small range is used before it counts as full ${name}`, (t, world, r) => {
    world.configure({ snatFirst: 5000, snatCount: 64 });
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]] });
    const clients = Array.from({ length: 65 }, (_, i) => tcp(end(r.client, CLIENT_PORT + i), end(r.vip, 80), 'SYN'));
    const outcomes = clients.map((packet) => world.run(program, packet));
    t.deepEqual(outcomes.map((outcome) => outcome.verdict === verdict).indexOf(false), 64);
    t.is(new Set(outcomes.slice(0, 64).map(sourcePort)).size, 64);
  });

  both(
    `a port of a connection that was reset serves another, which does not disturb the first client's next one ${name}`,
    (t, world, r) => {
      world.configure({ snatFirst: 5000, snatCount: 2 });
      world.serve({ frontends: [r.vip], endpoints: [r.remote[0]] });
      const [client, vip, backend] = [end(r.client, CLIENT_PORT), end(r.vip, 80), end(r.remote[0], 8080)];
      const first = sourcePort(world.run(program, tcp(client, vip, 'SYN')));
      world.run(program, tcp(client, vip, 'RST'));
      const second = sourcePort(world.run(program, tcp(client, vip, 'SYN')));
      t.deepEqual([first, second].sort(), [5000, 5001]);
      const ago = BigInt(2 * ticksPerSecond());
      world.seen.age((flow) => ({ ...flow, seen: flow.seen - ago }));
      t.is(sourcePort(world.run(program, tcp(end(r.otherClient, CLIENT_PORT), vip, 'SYN'))), first);
      const data = tcp(client, vip, 'ACK').data('more');
      const outcome = world.run(program, data);
      const expected = addressed(data.from(end(r.node, second)).to(backend).routed(), MAC.node2);
      happened(t, outcome, { verdict, packet: expected, counters: { 'forwarded-nat': 1 } });
    },
  );

  both(`a UDP datagram without checksum stays without ${name}`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], protocol: 'UDP' });
    const packet = udp(end(r.client, CLIENT_PORT), end(r.vip, 80)).withoutChecksum();
    const outcome = world.run(program, packet);
    const expected = packet
      .from(end(r.node, sourcePort(outcome)))
      .to(end(r.remote[0], 8080))
      .routed();
    happened(t, outcome, { verdict, packet: addressed(expected, MAC.node2), counters: { 'forwarded-nat': 1 } });
  });

  both(`a UDP checksum that comes out as zero is sent as all ones ${name}`, (t, world, r) => {
    world.configure({ snatFirst: 5000, snatCount: 1 });
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], protocol: 'UDP' });
    const translate = (packet: Packet): Packet => packet.from(end(r.node, 5000)).to(end(r.remote[0], 8080)).routed();
    const packet = withChecksum(0xffff, r.headerSize, translate, (data) =>
      udp(end(r.client, CLIENT_PORT), end(r.vip, 80), data),
    );
    const outcome = world.run(program, packet);
    const expected = addressed(translate(packet), MAC.node2);
    happened(t, outcome, { verdict, packet: expected, counters: { 'forwarded-nat': 1 } });
    t.deepEqual(outcome.frame, expected.bytes());
  });

  both(`what reaches a backend by another device leaves under that device's address ${name}`, (t, world, r) => {
    world.describe({ xdp: new Set([world.ifindex('up0'), world.ifindex('up1')]) });
    world.serve({ frontends: [r.vip], endpoints: [r.remoteByUp1] });
    const packet = tcp(end(r.client, CLIENT_PORT), end(r.vip, 80), 'SYN');
    const outcome = world.run(program, packet);
    const expected = packet
      .from(end(r.nodeOnUp1, sourcePort(outcome)))
      .to(end(r.remoteByUp1, 8080))
      .routed();
    const addresses = program === 'weir_xdp' ? expected.over(MAC.up1, MAC.node3) : expected;
    happened(t, outcome, {
      verdict: verdict.replace('TX', 'REDIRECT'),
      packet: addresses,
      counters: { 'forwarded-nat': 1 },
    });
  });

  both(
    `a packet whose hop limit is used up is left to the stack, which says so to the client ${name}`,
    (t, world, r) => {
      world.serve({ frontends: [r.vip], endpoints: [r.remote[0]] });
      const packet = tcp(end(r.client, CLIENT_PORT), end(r.vip, 80), 'SYN').hops(1);
      passedUntouched(t, world.run(program, packet), packet);
    },
  );

  both(`bytes with which Ethernet fills up a short frame stay behind the packet ${name}`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]] });
    const packet = tcp(end(r.client, CLIENT_PORT), end(r.vip, 80), 'SYN').padded(6);
    const outcome = world.run(program, packet);
    const expected = packet
      .from(end(r.node, sourcePort(outcome)))
      .to(end(r.remote[0], 8080))
      .routed();
    happened(t, outcome, { verdict, packet: addressed(expected, MAC.node2), counters: { 'forwarded-nat': 1 } });
  });

  both(`packets for nobody's service pass untouched ${name}`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]] });
    const client = end(r.client, CLIENT_PORT);
    const strangers = [
      udp(client, end(r.otherVip, 80)),
      tcp(client, end(r.otherVip, 80), 'SYN'),
      tcp(client, end(r.node, 61500), 'ACK'),
      udp(client, end(r.node, 61500)),
      sctp(client, end(r.otherVip, 80)),
    ];
    for (const packet of strangers) passedUntouched(t, world.run(program, packet), packet);
    t.deepEqual(world.seen.flows(), []);
  });
}

both('a backend that XDP cannot send to is left to TC, which finds the flow recorded', (t, world, r) => {
  for (const backend of [r.remoteByOverlay, r.withoutNeighbour, r.remoteByUp1]) {
    world.reset();
    world.serve({ frontends: [r.vip], endpoints: [backend] });
    const packet = tcp(end(r.client, CLIENT_PORT), end(r.vip, 80), 'SYN');
    const first = world.run('weir_xdp', packet);
    passedUntouched(t, first, packet);
    const recorded = first.flows.find(({ kind }) => kind === 'FORWARD');
    t.is(recorded?.address, socket(end(backend, 8080)));
    const second = world.run('weir_up_in', packet);
    const [address, port] = recorded?.nat.split(/:(?=\d+$)/) ?? [];
    const snat = end(address?.replace(/[[\]]/g, '') as Ip, Number(port));
    const expected = packet.from(snat).to(end(backend, 8080)).routed();
    happened(t, second, { verdict: 'TC_ACT_REDIRECT', packet: expected, counters: { 'forwarded-nat': 1 } });
    t.deepEqual(second.flows, []);
  }
});

both('a client is refused where the node has no route to the backend', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.unroutable] });
  const packet = tcp(end(r.client, CLIENT_PORT), end(r.vip, 80), 'SYN');
  happened(t, world.run('weir_up_in', packet), {
    verdict: 'TC_ACT_SHOT',
    counters: { 'no-route': 1 },
    drops: ['no-route'],
  });
});

both('a packet too large for the way to the backend is answered with the size that fits', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remoteByUp1] });
  ip('link set up1 mtu 1400');
  t.teardown(() => ip('link set up1 mtu 1500'));
  const packet = tcp(end(r.client, CLIENT_PORT), end(r.vip, 80), 'ACK').data(Buffer.alloc(1440));
  const outcome = world.run('weir_up_in', packet);
  happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', counters: { 'too-big': 1 }, drops: ['too-big'] });
  t.like(outcome.packet, { ip: { source: r.vip, destination: r.client }, icmp: { rest: 1400, checksum: 'right' } });
});

both('SCTP keeps a right checksum when its ports are replaced', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], protocol: 'SCTP' });
  const packet = sctp(end(r.client, CLIENT_PORT), end(r.vip, 80));
  passedUntouched(t, world.run('weir_xdp', packet), packet);
  const outcome = world.run('weir_up_in', packet);
  const expected = packet
    .from(end(r.node, sourcePort(outcome)))
    .to(end(r.remote[0], 8080))
    .routed();
  happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', packet: expected, counters: { 'forwarded-nat': 1 } });
});

both("a device's own sum over the whole packet stays right", (t, world, r) => {
  for (const protocol of ['TCP', 'UDP'] as const) {
    world.serve({ name: protocol.toLowerCase(), frontends: [r.vip], endpoints: [r.remote[0]], protocol });
    const make = protocol === 'TCP' ? tcp : udp;
    t.is(world.runSummed('weir_up_in', make(end(r.client, CLIENT_PORT), end(r.vip, 80))).verdict, 'TC_ACT_REDIRECT');
  }
});

/** Finds two bytes of data with which the translated packet's UDP checksum has this value. */
function withChecksum(
  wanted: number,
  headerSize: number,
  translate: (packet: Packet) => Packet,
  make: (data: string) => Packet,
): Packet {
  for (let word = 0; word < 0x10000; word++) {
    const packet = make('').data(Uint8Array.of(word >> 8, word & 0xff));
    if (
      translate(packet)
        .network()
        .readUInt16BE(headerSize + 6) === wanted
    )
      return packet;
  }
  throw new Error('no data gives this checksum');
}
