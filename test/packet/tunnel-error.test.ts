/** A router on the way to a backend's node finds our tunnel too big: the client is told, about its own packet. */
import { happened, passedUntouched } from './expect.js';
import { icmpError, type Packet, tcp, tunnelled, udp } from './frames.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const DSR = { forwarding: 'dsr' } as const;
const mtuOf = (r: Roster): number => (r.family === 'IPv4' ? 1400 : 1380);
const outerOf = (r: Roster, inner: Packet): Packet => tunnelled(r.node, r.remote[0], inner).identification(0);

for (const { name, protocol, packet } of [
  {
    name: 'TCP',
    protocol: 'TCP',
    packet: (r: Roster) => tcp(end(r.client, 40000), end(r.vip, 80), 'ACK').data('x'.repeat(1400)),
  },
  { name: 'UDP', protocol: 'UDP', packet: (r: Roster) => udp(end(r.client, 40000), end(r.vip, 80), 'x'.repeat(1400)) },
] as const) {
  both(`the client hears which ${name} packet fits into the tunnel`, (t, world, r) => {
    world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], protocol, ...DSR });
    const sent = packet(r);
    world.run('weir_up_in', sent);
    const error = icmpError(r.stranger, r.node, { name: 'too big', mtu: mtuOf(r) }, outerOf(r, sent), 300);
    passedUntouched(t, world.run('weir_xdp', error), error);
    const header = protocol === 'TCP' ? 20 : 8;
    const answer = icmpError(
      r.vip,
      r.client,
      { name: 'too big', mtu: mtuOf(r) - r.headerSize },
      sent,
      r.headerSize + header,
    );
    happened(t, world.run('weir_up_in', error), {
      verdict: 'TC_ACT_REDIRECT',
      packet: answer.identification(0),
      counters: { 'too-big': 1 },
      drops: ['too-big'],
    });
  });
}

both('a router that quotes little is understood as long as the ports are there', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...DSR });
  const sent = tcp(end(r.client, 40000), end(r.vip, 80), 'ACK').data('x'.repeat(1400));
  world.run('weir_up_in', sent);
  const error = { name: 'too big', mtu: mtuOf(r) } as const;
  const enough = icmpError(r.stranger, r.node, error, outerOf(r, sent), 2 * r.headerSize + 8);
  const answer = icmpError(r.vip, r.client, { name: 'too big', mtu: mtuOf(r) - r.headerSize }, sent, r.headerSize + 8);
  happened(t, world.run('weir_up_in', enough), {
    verdict: 'TC_ACT_REDIRECT',
    packet: answer.identification(0),
    counters: { 'too-big': 1 },
    drops: ['too-big'],
  });
  const less = icmpError(r.stranger, r.node, error, outerOf(r, sent), r.headerSize + 8);
  passedUntouched(t, world.run('weir_up_in', less), less);
});

both('what is not about a tunnel of ours is left alone', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...DSR });
  const sent = tcp(end(r.client, 40000), end(r.vip, 80), 'ACK');
  world.run('weir_up_in', sent);
  const error = { name: 'too big', mtu: mtuOf(r) } as const;
  const strange = [
    icmpError(r.stranger, r.node, error, outerOf(r, sent.from(end(r.otherClient, 40000)))),
    icmpError(r.stranger, r.node, error, tunnelled(r.node, r.remote[1], sent)),
    icmpError(r.stranger, r.node, error, tunnelled(r.node2, r.remote[0], sent)),
    icmpError(r.stranger, r.node, { name: 'port unreachable' }, outerOf(r, sent)),
    icmpError(r.stranger, r.node, { name: 'too big', mtu: r.headerSize }, outerOf(r, sent)),
  ];
  for (const packet of strange) passedUntouched(t, world.run('weir_up_in', packet), packet);
});

both('a client is never told less than its family guarantees', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.remote[0]], ...DSR });
  const sent = tcp(end(r.client, 40000), end(r.vip, 80), 'ACK').data('x'.repeat(1300));
  world.run('weir_up_in', sent);
  const [mtu, told] = r.family === 'IPv4' ? [80, 68] : [1290, 1280];
  const outcome = world.run(
    'weir_up_in',
    icmpError(r.stranger, r.node, { name: 'too big', mtu }, outerOf(r, sent), 300),
  );
  t.is((outcome.packet['icmp'] as { rest: number }).rest, told);
});
