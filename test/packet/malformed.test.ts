/** Packets that are cut, lie about their length or are put together in ways that only an attacker or a bug does. */
import type { ExecutionContext } from 'ava';
import { happened, passedUntouched } from './expect.js';
import { type Extension, icmp, IP_PROTOCOL, other, type Packet, sctp, tcp, tunnelled, udp } from './frames.js';
import type { World } from './harness.js';
import { end, type Roster, V4, V6 } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const MALFORMED = { verdict: 'TC_ACT_SHOT', counters: { malformed: 1 }, drops: ['malformed'] };

const segment = (r: Roster): Packet => tcp(end(r.client, 40000), end(r.vip, 80), 'SYN').data('0123456789');
const datagram = (r: Roster): Packet => udp(end(r.client, 40000), end(r.vip, 80));
/** Makes the header say another length from the network header on. */
function claiming(packet: Packet, r: Roster, bytes: number): Packet {
  const length = r.family === 'IPv4' ? bytes : bytes - 40;
  return packet.patched(r.family === 'IPv4' ? 2 : 4, length >> 8, length & 0xff);
}

interface Broken {
  readonly name: string;
  readonly family?: Roster['family'];
  readonly packet: (r: Roster) => Packet;
}

const BROKEN: readonly Broken[] = [
  { name: 'an IP header that is shorter than it can be', family: 'IPv4', packet: (r) => segment(r).patched(0, 0x44) },
  {
    name: 'an IP header that is longer than the packet',
    family: 'IPv4',
    packet: (r) => claiming(segment(r).patched(0, 0x4f), r, 40),
  },
  { name: 'the version of the other family', packet: (r) => segment(r).patched(0, r === V4 ? 0x65 : 0x45) },
  { name: 'the version of no family', packet: (r) => segment(r).patched(0, 0x05) },
  { name: 'a length below its own header', family: 'IPv4', packet: (r) => claiming(segment(r), r, 19) },
  { name: 'a length beyond the frame', packet: (r) => claiming(segment(r), r, 1000) },
  { name: 'one byte missing', packet: (r) => segment(r).cut(r.headerSize + 29) },
  { name: 'a TCP header cut by the frame', packet: (r) => segment(r).cut(r.headerSize + 19) },
  { name: 'a TCP header cut by the length', packet: (r) => claiming(segment(r), r, r.headerSize + 19) },
  { name: 'ports cut by the frame', packet: (r) => segment(r).cut(r.headerSize + 3) },
  { name: 'nothing behind the IP header', packet: (r) => segment(r).cut(r.headerSize) },
  { name: 'a UDP header cut by the frame', packet: (r) => datagram(r).cut(r.headerSize + 7) },
  { name: 'a UDP header cut by the length', packet: (r) => claiming(datagram(r), r, r.headerSize + 7) },
  {
    name: 'an SCTP header cut by the length',
    packet: (r) => claiming(sctp(end(r.client, 40000), end(r.vip, 80)), r, r.headerSize + 11),
  },
  {
    name: 'ICMP cut by the frame',
    packet: (r) =>
      icmp(r.client, r.vip, 3, 4)
        .data('x'.repeat(60))
        .cut(r.headerSize + 7),
  },
  {
    name: 'another protocol cut by the frame',
    packet: (r) => other(r.client, r.vip, 47, 'x'.repeat(60)).cut(r.headerSize + 10),
  },
  {
    name: 'an extension header cut by the frame',
    family: 'IPv6',
    packet: (r) => segment(r).extensions({ type: 60, size: 16 }).cut(47),
  },
  {
    name: 'an extension header that runs out of the packet',
    family: 'IPv6',
    packet: (r) => segment(r).extensions({ type: 60, size: 8 }).patched(41, 20),
  },
  {
    name: 'nothing behind its extension header',
    family: 'IPv6',
    packet: (r) => claiming(segment(r).extensions({ type: 60, size: 8 }).cut(48), r, 48),
  },
];

for (const { name, family, packet } of BROKEN) {
  both.in(
    family,
    `a packet with ${name} is dropped at ingress, passed at egress and left to TC by XDP`,
    (t, world, r) => {
      const broken = packet(r);
      serveAll(world, r);
      happened(t, world.run('weir_up_in', broken), MALFORMED);
      happened(t, world.run('weir_pod_in', broken.from(end(r.pod1, 40000)), 'pod1'), MALFORMED);
      passedUntouched(t, world.run('weir_up_out', broken), broken);
      passedUntouched(t, world.run('weir_pod_out', broken, 'pod1'), broken);
      passedUntouched(t, world.run('weir_xdp', broken), broken);
      t.deepEqual(world.seen.flows(), []);
    },
  );
}

both('no cut of a packet, and no frame of noise, upsets a program', (t, world, r) => {
  serveAll(world, r);
  const whole = [segment(r), datagram(r), tunnelled(r.node2, r.pod1, segment(r))];
  const chain =
    r === V6 ? [segment(r).extensions({ type: 0, size: 8 }, { type: 43, size: 24 }, { type: 51, size: 24 })] : [];
  for (const packet of [...whole, ...chain]) {
    const length = packet.network().length;
    for (let bytes = r.headerSize; bytes < length; bytes++) runEverywhere(t, world, packet.cut(bytes).bytes());
  }
  const type = r === V4 ? '0800' : '86dd';
  for (let seed = 0; seed < 200; seed++) runEverywhere(t, world, noise(seed, r === V4 ? 0x45 : 0x60, type));
});

interface Chain {
  readonly name: string;
  readonly extensions: readonly Extension[];
}
const destination: Extension = { type: IP_PROTOCOL.destination, size: 8 };
const CHAINS: readonly Chain[] = [
  {
    name: 'one header of each kind',
    extensions: [{ type: 0, size: 8 }, destination, { type: 43, size: 24 }, { type: 51, size: 24 }],
  },
  { name: '6 headers', extensions: Array.from({ length: 6 }, () => destination) },
  { name: 'an atomic fragment', extensions: [{ type: 44, size: 8 }] },
];

for (const { name, extensions } of CHAINS) {
  both.in('IPv6', `a packet with ${name} before its TCP header is translated`, (t, world, r) => {
    serveAll(world, r);
    const packet = segment(r).extensions(...extensions);
    const outcome = world.run('weir_up_in', packet);
    const expected = packet.to(end(r.pod1, 8080)).routed();
    happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', packet: expected, counters: { 'forwarded-nat': 1 } });
  });
}

both.in('IPv6', 'a packet with 7 extension headers is dropped, in a tunnel as well', (t, world, r) => {
  serveAll(world, r);
  const packet = segment(r).extensions(...Array.from({ length: 7 }, () => destination));
  const expected = { verdict: 'TC_ACT_SHOT', counters: { 'extension-headers': 1 }, drops: ['extension-headers'] };
  happened(t, world.run('weir_up_in', packet), expected);
  happened(t, world.run('weir_pod_in', packet.from(end(r.pod1, 40000)), 'pod1'), expected);
  happened(t, world.run('weir_up_in', tunnelled(r.node2, r.pod1, packet)), expected);
  passedUntouched(t, world.run('weir_xdp', packet), packet);
});

both.in('IPv4', 'options do not hide the ports', (t, world, r) => {
  serveAll(world, r);
  const packet = segment(r).ipOptions(Buffer.alloc(40, 1));
  for (const program of ['weir_xdp', 'weir_up_in'] as const) world.run(program, packet);
  const expected = packet.to(end(r.pod1, 8080)).routed();
  happened(t, world.run('weir_up_in', packet), {
    verdict: 'TC_ACT_REDIRECT',
    packet: expected,
    counters: { 'forwarded-nat': 1 },
  });
});

both('a later fragment is never taken for a packet with ports', (t, world, r) => {
  serveAll(world, r);
  const looksLike = segment(r).network().subarray(r.headerSize); // would be a SYN to the service
  for (const more of [true, false]) {
    const packet = other(r.client, r.vip, 6, Buffer.concat([looksLike, Buffer.alloc(2)])).fragment(185, more);
    for (const program of ['weir_xdp', 'weir_up_out', 'weir_pod_out'] as const) {
      passedUntouched(t, world.run(program, packet), packet);
    }
    const outcome = world.run('weir_up_in', packet);
    happened(t, outcome, { verdict: 'TC_ACT_SHOT', counters: { fragment: 1 }, drops: ['fragment'] });
  }
  t.deepEqual(world.seen.flows(), []);
});

both('a frame with a VLAN tag is left to the device of its VLAN', (t, world, r) => {
  serveAll(world, r);
  const frame = segment(r).bytes();
  const tagged = Buffer.concat([frame.subarray(0, 12), Buffer.from('81000064', 'hex'), frame.subarray(12)]);
  for (const program of ['weir_xdp', 'weir_up_in', 'weir_up_out'] as const) {
    const outcome = world.run(program, tagged);
    t.is(outcome.frame.toString('hex'), tagged.toString('hex'));
    t.deepEqual(outcome.counters, {});
  }
});

both(
  'a frame from a pod with a VLAN tag within another is dropped: its receiver might take both for none',
  (t, world, r) => {
    serveAll(world, r);
    const frame = segment(r).bytes();
    /* the kernel has taken the first one off by then */
    for (const tag of ['81000000', '88a80000']) {
      const tagged = Buffer.concat([frame.subarray(0, 12), Buffer.from(tag, 'hex'), frame.subarray(12)]);
      const outcome = world.run('weir_pod_in', tagged);
      happened(t, outcome, { verdict: 'TC_ACT_SHOT', counters: { malformed: 1 }, drops: ['malformed'] });
    }
  },
);

both('the first fragment of a datagram is translated at TC, and XDP leaves it', (t, world, r) => {
  serveAll(world, r);
  const packet = datagram(r).data('x'.repeat(64)).fragment(0, true);
  passedUntouched(t, world.run('weir_xdp', packet), packet);
  const outcome = world.run('weir_up_in', packet);
  t.is(outcome.verdict, 'TC_ACT_REDIRECT');
  t.is(outcome.frame.toString('hex'), packet.to(end(r.pod1, 8080)).routed().bytes().toString('hex'));
});

both('a fragment of a tunnel is left to the stack, which puts tunnels together', (t, world, r) => {
  serveAll(world, r);
  const packet = other(r.node2, r.pod1, r.tunnelProtocol, segment(r).network()).fragment(0, true);
  passedUntouched(t, world.run('weir_up_in', packet), packet);
});

function serveAll(world: World, r: Roster): void {
  const service = { frontends: [r.vip], endpoints: [r.pod1] };
  world.serve(
    { name: 'tcp', ...service, forwarding: 'dsr' },
    { name: 'udp', ...service, protocol: 'UDP' },
    { name: 'sctp', ...service, protocol: 'SCTP' },
  );
}

/** Whatever the frame is, a program ends with a verdict that its hook knows. */
function runEverywhere(t: ExecutionContext, world: World, frame: Buffer): void {
  for (const program of ['weir_xdp', 'weir_up_in', 'weir_up_out', 'weir_pod_in', 'weir_pod_out'] as const) {
    const { verdict } = world.run(program, frame, program.includes('pod') ? 'pod1' : 'up0');
    if (!/^(XDP_(PASS|DROP|TX|REDIRECT)|TC_ACT_(OK|SHOT|REDIRECT))$/.test(verdict)) t.fail(`${program}: ${verdict}`);
  }
  t.pass();
}

/** A frame of pseudo-random bytes behind a plausible beginning. */
function noise(seed: number, first: number, ethertype: string): Buffer {
  let state = seed * 2654435761 + 1;
  const bytes = Uint8Array.from({ length: 60 + (seed % 90) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
  bytes[0] = first;
  return Buffer.concat([Buffer.alloc(12, 2), Buffer.from(ethertype, 'hex'), bytes]);
}
