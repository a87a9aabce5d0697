/** Service addresses beyond their ports: who may come, what is refused, what is answered. */
import { parsePrefix } from '../../src/core/net.js';
import { serviceConfig } from '../../src/maps/service-config.js';
import { happened, passedUntouched } from './expect.js';
import { icmp, icmpError, other, type Packet, sctp, tcp, tunnelled, udp } from './frames.js';
import type { World } from './harness.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const MARK = 0x57000000;

const PLACES = [
  { name: 'a client out there', program: 'weir_up_in', device: 'up0', client: (r: Roster) => r.client },
  { name: 'a pod', program: 'weir_pod_in', device: 'pod1', client: (r: Roster) => r.pod1 },
] as const;

function withServiceRange(world: World): void {
  const serviceCidr = ['10.96.0.0/12', 'fd00:96::/112'].map((text) => parsePrefix(text)!);
  world.configure(serviceConfig({ masqueradeAll: false, serviceCidr }));
}
const echoRequest = (r: Roster, from: Roster['client'], to: Roster['client']): Packet =>
  icmp(from, to, r.family === 'IPv4' ? 8 : 128, 0, 0x00070001).data('are you there?');
const echoReply = (r: Roster, from: Roster['client'], to: Roster['client']): Packet =>
  icmp(from, to, r.family === 'IPv4' ? 0 : 129, 0, 0x00070001).data('are you there?');

for (const { name, program, device, client } of PLACES) {
  const from = (r: Roster) => end(client(r), 40000);

  both(`${name} that asks for a port that the service does not have is refused`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.pod2] });
    const expected = { verdict: 'TC_ACT_REDIRECT', counters: { 'unknown-port': 1 }, drops: ['unknown-port'] };
    const syn = tcp(from(r), end(r.vip, 81), 'SYN');
    const reset = tcp(end(r.vip, 81), from(r), 'RST', 'ACK').sequence(0).acknowledges(1001).window(0);
    const refused = world.run(program, syn, device);
    happened(t, refused, { ...expected, packet: reset.identification(0).turned() });
    t.is(refused.mark, MARK);
    for (const packet of [udp(from(r), end(r.vip, 80)), sctp(from(r), end(r.vip, 80))]) {
      const answer = icmpError(r.vip, client(r), { name: 'port unreachable' }, packet, r.headerSize + 8);
      happened(t, world.run(program, packet, device), { ...expected, packet: answer.identification(0).turned() });
    }
  });

  both(`what ${name} sends to a service in a protocol without ports ends there`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.pod2] });
    const about = tcp(end(r.vip, 80), end(r.client, 40001), 'ACK');
    const packets = [
      other(client(r), r.vip, 47),
      icmpError(client(r), r.vip, { name: 'time exceeded' }, about),
      echoReply(r, client(r), r.vip),
    ];
    for (const packet of packets) {
      const outcome = world.run(program, packet, device);
      happened(t, outcome, { verdict: 'TC_ACT_SHOT', counters: { 'unknown-port': 1 }, drops: ['unknown-port'] });
    }
  });

  both(`${name} that sends to an address that no service has is refused`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.pod2] });
    const syn = tcp(from(r), end(r.clusterIp, 80), 'SYN');
    const echo = echoRequest(r, client(r), r.clusterIp);
    for (const packet of [syn, echo]) passedUntouched(t, world.run(program, packet, device), packet);
    withServiceRange(world);
    const expected = { verdict: 'TC_ACT_REDIRECT', counters: { unallocated: 1 }, drops: ['unallocated'] };
    const reset = tcp(end(r.clusterIp, 80), from(r), 'RST', 'ACK').sequence(0).acknowledges(1001).window(0);
    happened(t, world.run(program, syn, device), { ...expected, packet: reset.identification(0).turned() });
    const [type, code] = r.family === 'IPv4' ? [3, 1] : [1, 3];
    const unreachable = icmp(r.clusterIp, client(r), type, code).data(echo.network().subarray(0, r.headerSize + 8));
    happened(t, world.run(program, echo, device), { ...expected, packet: unreachable.identification(0).turned() });
    const outside = tcp(from(r), end(r.otherVip, 80), 'SYN');
    passedUntouched(t, world.run(program, outside, device), outside);
    world.serve({ frontends: [r.clusterIp], kind: 'ClusterIP', endpoints: [r.pod2] });
    t.deepEqual(world.run(program, syn, device).counters, { 'forwarded-nat': 1 });
  });

  both(`${name} that pings a service is answered`, (t, world, r) => {
    world.serve(
      { frontends: [r.vip], endpoints: [] },
      { name: 'inside', frontends: [r.clusterIp], kind: 'ClusterIP', endpoints: [r.pod2] },
    );
    for (const address of [r.vip, r.clusterIp]) {
      const request = echoRequest(r, client(r), address).hops(3);
      const reply = echoReply(r, address, client(r)).turned();
      const outcome = world.run(program, request, device);
      happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', packet: reply, counters: { echo: 1 } });
      t.is(outcome.mark, MARK);
      t.is(world.runSummed(program, request, device).verdict, 'TC_ACT_REDIRECT');
    }
  });
}

both('XDP leaves to TC what no port of a service wants', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]] });
  withServiceRange(world);
  const client = end(r.client, 40000);
  const packets = [
    tcp(client, end(r.vip, 81), 'SYN'),
    tcp(client, end(r.clusterIp, 80), 'SYN'),
    echoRequest(r, r.client, r.vip),
  ];
  for (const packet of packets) passedUntouched(t, world.run('weir_xdp', packet), packet);
});

both("a node's own address that is a service's too keeps its other ports to itself", (t, world, r) => {
  world.serve({ frontends: [r.node], endpoints: [r.pod2] });
  const ssh = tcp(end(r.client, 40000), end(r.node, 22), 'SYN');
  const ping = echoRequest(r, r.client, r.node);
  for (const packet of [ssh, ping]) passedUntouched(t, world.run('weir_up_in', packet), packet);
});

both('an address that two services share stays known until both are gone', (t, world, r) => {
  const dns = { name: 'dns', frontends: [r.vip], endpoints: [r.pod2], protocol: 'UDP' } as const;
  world.serve({ frontends: [r.vip], endpoints: [r.pod2] }, dns);
  const packet = tcp(end(r.client, 40000), end(r.vip, 81), 'SYN');
  world.withdraw('web');
  t.deepEqual(world.run('weir_up_in', packet).counters, { 'unknown-port': 1 });
  world.withdraw('dns');
  passedUntouched(t, world.run('weir_up_in', packet), packet);
});

const RANGED = { kind: 'LoadBalancer', ranges: ['198.51.100.7/32', '2001:db8:c::7/128'] } as const;
const REFUSED = { verdict: 'TC_ACT_SHOT', counters: { 'source-range': 1 }, drops: ['source-range'] };

both('a load balancer admits the ranges that its service names, others are dropped', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...RANGED });
  const admitted = tcp(end(r.client, 40000), end(r.vip, 80), 'SYN');
  const stranger = tcp(end(r.otherClient, 40000), end(r.vip, 80), 'SYN');
  t.deepEqual(world.run('weir_xdp', admitted).counters, { 'forwarded-nat': 1 });
  t.deepEqual(world.run('weir_up_in', admitted).counters, { 'forwarded-nat': 1 });
  passedUntouched(t, world.run('weir_xdp', stranger), stranger);
  happened(t, world.run('weir_up_in', stranger), REFUSED);
  happened(t, world.run('weir_pod_in', tcp(end(r.pod1, 1), end(r.vip, 80), 'SYN'), 'pod1'), REFUSED);
});

both('ranges bind neither the other frontends of the service nor flows that are under way', (t, world, r) => {
  const packet = tcp(end(r.otherClient, 40000), end(r.vip, 80), 'ACK');
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], kind: 'LoadBalancer' });
  t.deepEqual(world.run('weir_up_in', packet).counters, { 'forwarded-nat': 1 });
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...RANGED });
  t.deepEqual(world.run('weir_up_in', packet).counters, { 'forwarded-nat': 1 });
  world.seen.forget();
  happened(t, world.run('weir_up_in', packet), REFUSED);
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...RANGED, kind: 'ExternalIP' });
  t.deepEqual(world.run('weir_up_in', packet).counters, { 'forwarded-nat': 1 });
});

both('ranges of one service do not admit to another', (t, world, r) => {
  world.serve(
    { frontends: [r.vip], endpoints: [r.pod1], kind: 'LoadBalancer', ranges: ['192.0.2.1/32', '2001:db8::1/128'] },
    { name: 'open', frontends: [r.otherVip], endpoints: [r.pod1], ...RANGED },
  );
  happened(t, world.run('weir_up_in', tcp(end(r.client, 40000), end(r.vip, 80), 'SYN')), REFUSED);
});

both('a service without endpoints drops strangers and refuses those it admits', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [], ...RANGED });
  happened(t, world.run('weir_up_in', tcp(end(r.otherClient, 40000), end(r.vip, 80), 'SYN')), REFUSED);
  t.deepEqual(world.run('weir_up_in', tcp(end(r.client, 40000), end(r.vip, 80), 'SYN')).counters, { 'no-endpoint': 1 });
});

both('where a range has an address of the node, the service itself is admitted', (t, world, r) => {
  const packet = tcp(end(r.vip, 40000), end(r.vip, 80), 'SYN');
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...RANGED });
  happened(t, world.run('weir_up_in', packet), REFUSED);
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], kind: 'LoadBalancer', ranges: [`${r.node}/32`] });
  t.deepEqual(world.run('weir_up_in', packet).counters, { 'forwarded-nat': 1 });
});

both('what comes through a tunnel is held to the ranges as well', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1], ...RANGED, forwarding: 'dsr' });
  const through = (from: Roster['client']): Packet =>
    tunnelled(r.node2, r.pod1, tcp(end(from, 40000), end(r.vip, 80), 'SYN'));
  happened(t, world.run('weir_up_in', through(r.otherClient)), REFUSED);
  t.deepEqual(world.run('weir_up_in', through(r.client)).counters, { decapsulated: 1 });
});
