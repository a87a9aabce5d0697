/** A pod's packets carry the pod's own address: another one, on a device that an endpoint is bound to, is dropped. */
import type { Ip } from '../../src/core/net.js';
import { familyOf } from '../../src/core/net.js';
import { happened, passedUntouched } from './expect.js';
import { ETHERNET, icmp, icmpError, IP_PROTOCOL, other, type Packet, tcp, tunnelled, udp } from './frames.js';
import { end, type Roster, V4, V6 } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const ip = (text: string): Ip => text as Ip;
const SPOOFED = { verdict: 'TC_ACT_SHOT', counters: { 'spoofed-source': 1 } };
const echo = (from: Ip, to: Ip): Packet => icmp(from, to, familyOf(from) === 'v4' ? 8 : 128, 0);

both("a pod's own address passes, in any protocol", (t, world, r) => {
  const packets = [
    tcp(end(r.pod1, 40000), end(r.client, 80), 'SYN'),
    udp(end(r.pod1, 40000), end(r.client, 80)),
    echo(r.pod1, r.client),
    other(r.pod1, r.client, IP_PROTOCOL.gre),
    other(r.pod1, r.client, 17, 'x'.repeat(64)).fragment(100, false),
  ];
  for (const packet of packets) passedUntouched(t, world.run('weir_pod_in', packet, 'pod1'), packet);
});

const STRANGERS: readonly { readonly name: string; readonly source: (r: Roster) => Ip }[] = [
  { name: "another pod's address", source: (r) => r.pod2 },
  { name: "the node's address", source: (r) => r.node },
  { name: 'an address from outside', source: (r) => r.stranger },
  { name: "a service's address", source: (r) => r.vip },
  { name: 'a link-local address', source: (r) => ip(r.family === 'IPv4' ? '169.254.7.7' : 'fe80::7') },
  { name: 'no address', source: (r) => ip(r.family === 'IPv4' ? '0.0.0.0' : '::') },
  { name: 'a loopback address', source: (r) => ip(r.family === 'IPv4' ? '127.0.0.1' : '::1') },
];

for (const { name, source } of STRANGERS) {
  both(`${name} from a pod that is not its owner is dropped, in any protocol`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.pod2] });
    const from = source(r);
    const packets = [
      tcp(end(from, 40000), end(r.client, 80), 'SYN'),
      tcp(end(from, 40000), end(r.vip, 80), 'SYN'),
      udp(end(from, 40000), end(r.client, 53)),
      echo(from, r.client),
      icmpError(from, r.vip, { name: 'too big', mtu: 1300 }, tcp(end(r.vip, 80), end(from, 40000))),
      other(from, r.client, IP_PROTOCOL.gre),
      other(from, r.client, 17, 'x'.repeat(64)).fragment(100, false),
      tunnelled(from, r.pod2, tcp(end(r.client, 1), end(r.vip, 80), 'SYN')),
    ];
    for (const packet of packets) {
      const outcome = world.run('weir_pod_in', packet, 'pod1');
      happened(t, outcome, {
        ...SPOOFED,
        drops: [{ reason: 'spoofed-source', hook: 'POD_IN', ifindex: world.ifindex('pod1') }],
      });
    }
    t.deepEqual(world.seen.flows(), []);
  });
}

both('a source that no endpoint has passes where nobody is bound yet', (t, world, r) => {
  const packet = tcp(end(r.stranger, 40000), end(r.client, 80), 'SYN');
  passedUntouched(t, world.run('weir_pod_in', packet, 'pod3'), packet);
});

both(
  "an endpoint whose device is not known is bound by its first packet; nobody else may use its address, nor it another's",
  (t, world, r) => {
    const own = tcp(end(r.podUnbound, 40000), end(r.client, 80), 'SYN');
    const foreign = tcp(end(r.stranger, 40000), end(r.client, 80), 'SYN');
    passedUntouched(t, world.run('weir_pod_in', own, 'pod3'), own);
    t.is(world.seen.tables.weir_endpoints.get(r.podUnbound)?.ifindex, world.ifindex('pod3'));
    happened(t, world.run('weir_pod_in', own, 'pod1'), { ...SPOOFED, drops: ['spoofed-source'] });
    happened(t, world.run('weir_pod_in', foreign, 'pod3'), { ...SPOOFED, drops: ['spoofed-source'] });
    passedUntouched(t, world.run('weir_pod_in', own, 'pod3'), own);
    const otherFamily = r === V4 ? V6 : V4;
    const unbound = tcp(end(otherFamily.stranger, 40000), end(otherFamily.client, 80), 'SYN');
    passedUntouched(t, world.run('weir_pod_in', unbound, 'pod3'), unbound);
  },
);

both('what the programs have learnt outlives the next message of the agent', (t, world, r) => {
  const own = tcp(end(r.podUnbound, 40000), end(r.client, 80), 'SYN');
  world.run('weir_pod_in', own, 'pod3');
  world.describe({});
  happened(t, world.run('weir_pod_in', own, 'pod2'), { ...SPOOFED, drops: ['spoofed-source'] });
});

both('an endpoint that is bound cannot be taken by the first packet of another device', (t, world, r) => {
  const stolen = tcp(end(r.pod2, 40000), end(r.client, 80), 'SYN');
  happened(t, world.run('weir_pod_in', stolen, 'pod3'), { ...SPOOFED, drops: ['spoofed-source'] });
  t.is(world.seen.tables.weir_endpoints.get(r.pod2)?.ifindex, world.ifindex('pod2'));
});

both('packets of other protocols than IP pass', (t, world) => {
  const frame = Buffer.concat([Buffer.alloc(12, 2), Buffer.from('0806', 'hex'), Buffer.alloc(28)]);
  for (const program of ['weir_pod_in', 'weir_up_in', 'weir_up_out', 'weir_pod_out', 'weir_xdp'] as const) {
    const outcome = world.run(program, frame, 'pod1');
    t.is(outcome.frame.toString('hex'), frame.toString('hex'));
    t.deepEqual(outcome.counters, {});
    t.is(frame.length, ETHERNET + 28);
  }
});

interface Exempt {
  readonly name: string;
  readonly packet: Packet;
  /** The same, with what makes it a trick. */
  readonly trick?: Packet;
}

const LINK_LOCAL = ip('fe80::7');
const ALL_NODES = ip('ff02::1');
const neighbour = (type: number, source: Ip): Packet =>
  icmp(source, ALL_NODES, type, 0).data(Buffer.alloc(16)).hops(255);
const EXEMPT: Readonly<Record<'IPv4' | 'IPv6', readonly Exempt[]>> = {
  IPv4: [
    {
      name: 'DHCP',
      packet: udp(end(ip('0.0.0.0'), 68), end(ip('255.255.255.255'), 67)),
      trick: udp(end(ip('0.0.0.0'), 67), end(ip('255.255.255.255'), 68)),
    },
  ],
  IPv6: [
    { name: 'router solicitation', packet: neighbour(133, LINK_LOCAL), trick: neighbour(133, LINK_LOCAL).hops(254) },
    { name: 'neighbour solicitation', packet: neighbour(135, LINK_LOCAL), trick: neighbour(135, LINK_LOCAL).hops(64) },
    { name: 'neighbour advertisement', packet: neighbour(136, LINK_LOCAL), trick: neighbour(136, V6.pod2) },
    { name: 'duplicate address detection', packet: neighbour(135, ip('::')), trick: neighbour(135, ip('::')).hops(1) },
    { name: 'MLD report', packet: neighbour(131, LINK_LOCAL).hops(1), trick: neighbour(129, LINK_LOCAL).hops(1) },
    {
      name: 'MLDv2 report behind a router alert',
      packet: neighbour(143, ip('::')).hops(1).extensions({ type: IP_PROTOCOL.hopByHop, size: 8 }),
      trick: neighbour(137, LINK_LOCAL),
    },
    {
      name: 'DHCPv6',
      packet: udp(end(LINK_LOCAL, 546), end(ip('ff02::1:2'), 547)),
      trick: udp(end(LINK_LOCAL, 547), end(ip('ff02::1:2'), 546)),
    },
  ],
};

both('discovery and address configuration pass from a bound device, what resembles them does not', (t, world, r) => {
  for (const { name, packet, trick } of EXEMPT[r.family]) {
    const outcome = world.run('weir_pod_in', packet, 'pod1');
    t.is(outcome.verdict, 'TC_ACT_OK', name);
    passedUntouched(t, outcome, packet);
    if (trick) happened(t, world.run('weir_pod_in', trick, 'pod1'), { ...SPOOFED, drops: ['spoofed-source'] });
  }
});
