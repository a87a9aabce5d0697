/** Policy and services: egress by the backend that was chosen, ingress by the client itself, and what the denied are told. */
import { happened, passedUntouched } from './expect.js';
import { icmp, tcp, udp } from './frames.js';
import { allow, only, policies } from './policies.js';
import { end } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();

both('egress to a service is judged by the backend, before anything is sent', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod2] });
  const packet = tcp(end(r.pod1, 40000), end(r.vip, 80), 'SYN');
  world.enforce(policies({ [only(r.vip)]: 'service' }, { pod: [r.pod1], egress: [allow('service')] }));
  happened(t, world.run('weir_pod_in', packet, 'pod1'), {
    verdict: 'TC_ACT_SHOT',
    untouched: packet,
    counters: { 'policy-egress': 1 },
    drops: ['policy-egress'],
  });
  t.deepEqual(world.seen.flows(), [], 'what was recorded for it is forgotten');
  world.enforce(policies({ [only(r.pod2)]: 'web' }, { pod: [r.pod1], egress: [allow('web', 'TCP', 8080)] }));
  const outcome = world.run('weir_pod_in', packet, 'pod1');
  happened(t, outcome, { verdict: 'TC_ACT_REDIRECT', counters: { 'forwarded-nat': 1 } });
  const reply = tcp(end(r.pod2, 8080), end(r.pod1, 40000), 'SYN', 'ACK');
  t.is(world.run('weir_pod_out', reply, 'pod1').verdict, 'TC_ACT_OK', 'the reply is judged before it is reversed');
});

both('a pod reaches itself through its own service whatever its policies say', (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
  world.enforce(policies({}, { pod: [r.pod1], ingress: [], egress: [] }));
  const there = world.run('weir_pod_in', tcp(end(r.pod1, 40000), end(r.vip, 80), 'SYN'), 'pod1');
  t.is(there.verdict, 'TC_ACT_REDIRECT');
  t.is(world.run('weir_pod_out', there.frame, 'pod1').verdict, 'TC_ACT_OK');
  const [snat] = world.seen.flows().filter(({ table }) => table === 'snat');
  const port = Number(snat?.key.split(':').pop());
  const reply = tcp(end(r.pod1, 8080), end(r.node, port), 'SYN', 'ACK');
  t.is(world.run('weir_pod_in', reply, 'pod1').verdict, 'TC_ACT_REDIRECT');
});

both("a masqueraded client is judged by its own address, not exempted by the node's", (t, world, r) => {
  world.serve({ frontends: [r.vip], endpoints: [r.pod1] });
  world.run('weir_pod_in', tcp(end(r.pod1, 40000), end(r.vip, 80), 'SYN'), 'pod1');
  const [key, flow] = [...world.seen.tables.weir_snat.entries()][0]!;
  world.seen.tables.weir_snat.set(key, { ...flow, nat: r.client });
  const masqueraded = tcp(end(key.destination, key.destinationPort), end(r.pod1, 8080), 'SYN');
  world.enforce(policies({}, { pod: [r.pod1], ingress: [] }));
  const outcome = world.run('weir_pod_out', masqueraded, 'pod1');
  happened(t, outcome, { verdict: 'TC_ACT_SHOT', counters: { 'policy-ingress': 1 }, drops: ['policy-ingress'] });
  world.enforce(policies({ [only(r.client)]: 'friend' }, { pod: [r.pod1], ingress: [allow('friend')] }));
  passedUntouched(t, world.run('weir_pod_out', masqueraded, 'pod1'), masqueraded);
});

both('a rejected connection is reset, into the pod as if by its peer and out of it as if by the pod', (t, world, r) => {
  world.enforce(policies({}, { pod: [r.pod1], ingress: [], egress: [], action: 'reject' }));
  const answered = (reason: string) => ({ verdict: 'TC_ACT_REDIRECT', counters: { [reason]: 1 }, drops: [reason] });
  for (const [program, packet, reason] of [
    ['weir_pod_out', tcp(end(r.client, 40000), end(r.pod1, 80), 'SYN'), 'policy-ingress'],
    ['weir_pod_in', tcp(end(r.pod1, 40000), end(r.client, 80), 'SYN'), 'policy-egress'],
  ] as const) {
    const reset = tcp(packet.destination, packet.source, 'RST', 'ACK').sequence(0).acknowledges(1001).window(0);
    const outcome = world.run(program, packet, 'pod1');
    happened(t, outcome, {
      ...answered(reason),
      packet: reset.over('02:00:00:00:0b:0b', '02:00:00:00:0a:0a').identification(0),
    });
    t.is(outcome.mark, 0x57000000);
  }
});

both('everything else that is rejected is answered as administratively prohibited', (t, world, r) => {
  world.enforce(policies({}, { pod: [r.pod1], ingress: [], action: 'reject' }));
  const code = r.family === 'IPv4' ? { type: 3, code: 13 } : { type: 1, code: 1 };
  const echo = icmp(r.client, r.pod1, r.family === 'IPv4' ? 8 : 128, 0, 7);
  for (const packet of [udp(end(r.client, 40000), end(r.pod1, 53)), echo]) {
    const outcome = world.run('weir_pod_out', packet, 'pod1');
    t.is(outcome.verdict, 'TC_ACT_REDIRECT');
    t.like(outcome.packet, { ip: { source: r.pod1, destination: r.client }, icmp: { ...code, checksum: 'right' } });
  }
  const error = icmp(r.client, r.pod1, r.family === 'IPv4' ? 3 : 1, 0).data(Buffer.alloc(8));
  const outcome = world.run('weir_pod_out', error, 'pod1');
  happened(t, outcome, { verdict: 'TC_ACT_SHOT', counters: { 'policy-ingress': 1 }, drops: ['policy-ingress'] });
});
