/** Services that nobody serves: the client is told at once, in its own protocol. */
import { happened } from './expect.js';
import {
  icmpError,
  NO_OPERATION,
  type Packet,
  sctp,
  segmentSize,
  tcp,
  type TcpFlag,
  TIMESTAMPS,
  udp,
} from './frames.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const ANSWERED = { verdict: 'TC_ACT_REDIRECT', counters: { 'no-endpoint': 1 }, drops: ['no-endpoint'] };
/** WEIR_MARK of bpf/answer.h: later stages let pass what Weir says itself. */
const MARK = 0x57000000;

const places = [
  { name: 'a client out there', program: 'weir_up_in', device: 'up0', client: (r: Roster) => r.client },
  { name: 'a pod', program: 'weir_pod_in', device: 'pod1', client: (r: Roster) => r.pod1 },
] as const;

interface Segment {
  readonly name: string;
  readonly make: (packet: Packet) => Packet;
  /** RFC 9293 section 3.10.7.1: of the answer. */
  readonly flags: readonly TcpFlag[];
  readonly sequence: number;
  readonly acknowledgement: number;
}

const SEGMENTS: readonly Segment[] = [
  {
    name: 'SYN',
    make: (packet) => packet.flags('SYN').sequence(1000),
    flags: ['RST', 'ACK'],
    sequence: 0,
    acknowledgement: 1001,
  },
  {
    name: 'SYN with options',
    make: (packet) => packet.flags('SYN').sequence(0xffffffff).options(segmentSize(1460), TIMESTAMPS, NO_OPERATION),
    flags: ['RST', 'ACK'],
    sequence: 0,
    acknowledgement: 0,
  },
  {
    name: 'SYN with data',
    make: (packet) => packet.flags('SYN').sequence(1000).data('early!!'),
    flags: ['RST', 'ACK'],
    sequence: 0,
    acknowledgement: 1008,
  },
  {
    name: 'ACK',
    make: (packet) => packet.flags('ACK').acknowledges(77),
    flags: ['RST'],
    sequence: 77,
    acknowledgement: 0,
  },
  {
    name: 'data',
    make: (packet) => packet.flags('ACK', 'PSH').acknowledges(77).data('x'.repeat(1001)),
    flags: ['RST'],
    sequence: 77,
    acknowledgement: 0,
  },
  {
    name: 'FIN',
    make: (packet) => packet.flags('FIN', 'ACK').acknowledges(77),
    flags: ['RST'],
    sequence: 77,
    acknowledgement: 0,
  },
];

for (const { name: place, program, device, client } of places) {
  for (const { name, make, flags, sequence, acknowledgement } of SEGMENTS) {
    both(`${place} that sends ${name} to a service without endpoints gets a reset`, (t, world, r) => {
      world.serve({ frontends: [r.vip], endpoints: [] });
      const packet = make(tcp(end(client(r), 40000), end(r.vip, 80)));
      const answer = tcp(end(r.vip, 80), end(client(r), 40000), ...flags);
      const expected = answer.sequence(sequence).acknowledges(acknowledgement).window(0).identification(0).turned();
      const outcome = world.run(program, packet, device);
      happened(t, outcome, { ...ANSWERED, packet: expected });
      t.is(outcome.mark, MARK);
      t.deepEqual(outcome.flows, []);
    });
  }

  both(`${place} that sends a reset to a service without endpoints gets nothing`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [] });
    const packet = tcp(end(client(r), 40000), end(r.vip, 80), 'RST', 'ACK');
    happened(t, world.run(program, packet, device), { ...ANSWERED, verdict: 'TC_ACT_SHOT' });
  });

  both(`${place} that sends UDP to a service without endpoints hears that the port is unreachable`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [], protocol: 'UDP' });
    const question = udp(end(client(r), 40000), end(r.vip, 80));
    for (const packet of [question, question.data(''), question.data('x'.repeat(1001)), question.withoutChecksum()]) {
      const answer = icmpError(r.vip, client(r), { name: 'port unreachable' }, packet, r.headerSize + 8);
      const outcome = world.run(program, packet, device);
      happened(t, outcome, { ...ANSWERED, packet: answer.identification(0).turned() });
      t.is(outcome.mark, MARK);
    }
  });

  both(`${place} that sends SCTP to a service without endpoints hears that the port is unreachable`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [], protocol: 'SCTP' });
    const packet = sctp(end(client(r), 40000), end(r.vip, 80));
    const answer = icmpError(r.vip, client(r), { name: 'port unreachable' }, packet, r.headerSize + 8);
    happened(t, world.run(program, packet, device), { ...ANSWERED, packet: answer.identification(0).turned() });
  });
}

/* Where bytes are cut off the kernel forgets the device's sum: only answers as long as the question can go wrong. */
both("an answer keeps the device's own sum over the packet right", (t, world, r) => {
  world.serve(
    { frontends: [r.vip], endpoints: [] },
    { name: 'dns', frontends: [r.vip], endpoints: [], protocol: 'UDP' },
  );
  const [client, vip] = [end(r.client, 40000), end(r.vip, 80)];
  for (const packet of [tcp(client, vip, 'SYN'), tcp(client, vip, 'ACK').hops(7), udp(client, vip, '')]) {
    t.is(world.runSummed('weir_up_in', packet).verdict, 'TC_ACT_REDIRECT');
  }
});

both('headers with options are quoted whole', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [], protocol: 'UDP' });
  const plain = udp(end(r.client, 40000), end(r.vip, 80));
  const packet =
    r.family === 'IPv4' ? plain.ipOptions(Uint8Array.of(1, 1, 1, 1)) : plain.extensions({ type: 60, size: 16 });
  const answer = icmpError(
    r.vip,
    r.client,
    { name: 'port unreachable' },
    packet,
    r.headerSize + (r.family === 'IPv4' ? 4 : 16) + 8,
  );
  happened(t, world.run('weir_up_in', packet), { ...ANSWERED, packet: answer.identification(0).turned() });
});

both('XDP leaves the answer to TC', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [] });
  const packet = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
  happened(t, world.run('weir_xdp', packet), { verdict: 'XDP_PASS', untouched: packet });
});

both(
  'a client is neither served nor refused where the policy is Local and the endpoints are elsewhere',
  (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], policy: 'Local' });
    const packet = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
    happened(t, world.run('weir_xdp', packet), { verdict: 'XDP_PASS', untouched: packet });
    happened(t, world.run('weir_up_in', packet), {
      verdict: 'TC_ACT_SHOT',
      counters: { 'no-local-endpoint': 1 },
      drops: [{ reason: 'no-local-endpoint', hook: 'UP_IN', packet: `TCP ${r.client} > ${socketOf(r)}` }],
    });
  },
);

both(
  'a connection that has lost its endpoint is reset where the policy is Local and others are elsewhere',
  (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.pod1], policy: 'Local' });
    const syn = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
    world.run('weir_up_in', syn);
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], policy: 'Local' });
    world.seen.age(() => undefined); // its grace has ended, and the sweep has been there
    const segment = syn.flags('ACK', 'PSH').data('x');
    happened(t, world.run('weir_xdp', segment), { verdict: 'XDP_PASS', untouched: segment });
    const outcome = world.run('weir_up_in', segment);
    t.deepEqual(outcome.counters, { 'no-endpoint': 1 });
    t.like(outcome.packet, { ip: { source: r.vip, destination: r.client }, tcp: { flags: 'RST' } });
  },
);

both('a pod on this node reaches endpoints elsewhere in spite of the policy', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], policy: 'Local' });
  const packet = tcp(end(r.pod1, 40000), end(r.vip, 80), 'SYN');
  const outcome = world.run('weir_pod_in', packet, 'pod1');
  t.is(outcome.verdict, 'TC_ACT_REDIRECT');
  t.deepEqual(outcome.counters, { 'forwarded-nat': 1 });
});

both('a connection of before goes on when the last endpoint stops taking new ones', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
  const syn = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
  world.run('weir_up_in', syn);
  world.serve({ frontends: [r.vip], endpoints: [] });
  const outcome = world.run('weir_up_in', syn.flags('ACK'));
  t.like(outcome.packet, { ip: { destination: r.pod1 } });
  t.deepEqual(outcome.counters, { 'forwarded-nat': 1 });
});

function socketOf(r: Roster): string {
  return r.family === 'IPv4' ? `${r.vip}:80` : `[${r.vip}]:80`;
}
