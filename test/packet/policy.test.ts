/** One rule of policy a test: who may open a flow to or from a pod, what passes besides, and what is told of the rest. */
import type { ExecutionContext } from 'ava';
import type { Ip } from '../../src/core/net.js';
import { happened, passedUntouched } from './expect.js';
import { icmp, icmpError, other, type Packet, sctp, tcp, udp } from './frames.js';
import type { World } from './harness.js';
import { allow, only, policies } from './policies.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const ECHO = { IPv4: { ask: 8, answer: 0 }, IPv6: { ask: 128, answer: 129 } } as const;
const INGRESS = { verdict: 'TC_ACT_SHOT', counters: { 'policy-ingress': 1 } };
const EGRESS = { verdict: 'TC_ACT_SHOT', counters: { 'policy-egress': 1 } };

function denied(t: ExecutionContext, world: World, packet: Packet): void {
  happened(t, world.run('weir_pod_out', packet, 'pod1'), {
    ...INGRESS,
    drops: [{ reason: 'policy-ingress', hook: 'POD_OUT', rule: 'Policies shop/web ingress' }],
  });
}

function admitted(t: ExecutionContext, world: World, packet: Packet): void {
  passedUntouched(t, world.run('weir_pod_out', packet, 'pod1'), packet);
}

function sendsNot(t: ExecutionContext, world: World, packet: Packet): void {
  happened(t, world.run('weir_pod_in', packet, 'pod1'), {
    ...EGRESS,
    drops: [{ reason: 'policy-egress', hook: 'POD_IN', rule: 'Policies shop/web egress' }],
  });
}

function sends(t: ExecutionContext, world: World, packet: Packet): void {
  passedUntouched(t, world.run('weir_pod_in', packet, 'pod1'), packet);
}

const toPod = (r: Roster, from: Ip = r.client, port = 8080): Packet => tcp(end(from, 40000), end(r.pod1, port), 'SYN');
const fromPod = (r: Roster, to: Ip = r.client, port = 80): Packet => tcp(end(r.pod1, 40000), end(to, port), 'SYN');
const answerTo = (packet: Packet): Packet => tcp(packet.destination, packet.source, 'SYN', 'ACK');

both('a pod that no policy isolates sends and receives everything, and nothing is remembered of it', (t, world, r) => {
  world.enforce(policies({}, { pod: [r.pod1] }, { pod: [r.pod2], ingress: [] }));
  admitted(t, world, toPod(r));
  sends(t, world, fromPod(r));
  t.is([...world.seen.tables.weir_admitted4.entries(), ...world.seen.tables.weir_admitted6.entries()].length, 0);
});

both('an isolated pod without a rule receives nothing, in any protocol', (t, world, r) => {
  world.enforce(policies({}, { pod: [r.pod1], ingress: [] }));
  for (const packet of [
    toPod(r),
    udp(end(r.client, 40000), end(r.pod1, 53)),
    sctp(end(r.client, 40000), end(r.pod1, 80)),
    icmp(r.client, r.pod1, ECHO[r.family].ask, 0, 7),
    other(r.client, r.pod1, 47),
  ])
    denied(t, world, packet);
  sends(t, world, fromPod(r));
});

both('an isolated pod without a rule sends nothing', (t, world, r) => {
  world.enforce(policies({}, { pod: [r.pod1], egress: [] }));
  sendsNot(t, world, fromPod(r));
  sendsNot(t, world, udp(end(r.pod1, 40000), end(r.pod2, 53)));
  admitted(t, world, toPod(r));
});

both('a rule for a class lets its members in and nobody else', (t, world, r) => {
  world.enforce(policies({ [only(r.client)]: 'friends' }, { pod: [r.pod1], ingress: [allow('friends')] }));
  admitted(t, world, toPod(r));
  denied(t, world, toPod(r, r.otherClient));
});

both('a rule for anyone lets in whoever it is', (t, world, r) => {
  world.enforce(policies({}, { pod: [r.pod1], ingress: [allow('', 'TCP', 8080)] }));
  admitted(t, world, toPod(r, r.otherClient));
  denied(t, world, toPod(r, r.otherClient, 8081));
});

both('the longest prefix of an address counts', (t, world, r) => {
  const wide = r.family === 'IPv4' ? '0.0.0.0/0' : '::/0';
  const rules = [allow('outside')];
  world.enforce(policies({ [wide]: 'outside', [only(r.client)]: '-' }, { pod: [r.pod1], ingress: rules }));
  admitted(t, world, toPod(r, r.otherClient));
  denied(t, world, toPod(r, r.client));
});

both('a rule for a port opens that port, of that protocol; a range those that begin alike', (t, world, r) => {
  const rules = [allow('', 'TCP', 80), allow('', 'UDP', 8000, 12)]; // 8000-8015
  world.enforce(policies({}, { pod: [r.pod1], ingress: rules }));
  admitted(t, world, toPod(r, r.client, 80));
  denied(t, world, toPod(r, r.client, 81));
  denied(t, world, sctp(end(r.client, 40000), end(r.pod1, 80)));
  denied(t, world, udp(end(r.client, 40000), end(r.pod1, 80)));
  admitted(t, world, udp(end(r.client, 40000), end(r.pod1, 8015)));
  denied(t, world, udp(end(r.client, 40000), end(r.pod1, 8016)));
});

both('a rule without a protocol opens ICMP and the rest as well; one for a protocol does not', (t, world, r) => {
  const echo = icmp(r.client, r.pod1, ECHO[r.family].ask, 0, 7 << 16);
  world.enforce(policies({}, { pod: [r.pod1], ingress: [allow('')] }));
  admitted(t, world, echo);
  admitted(t, world, other(r.client, r.pod1, 47));
  world.seen.forget();
  world.enforce(policies({}, { pod: [r.pod1], ingress: [{ ...allow('', 'TCP'), bits: 0 }] }));
  denied(t, world, echo);
  admitted(t, world, toPod(r));
});

both('a later fragment, whose ports are not known, passes by rules for any port alone', (t, world, r) => {
  const fragment = other(r.client, r.pod1, 17, 'x'.repeat(64)).fragment(100, false);
  world.enforce(policies({}, { pod: [r.pod1], ingress: [allow('', 'UDP', 53)] }));
  denied(t, world, fragment);
  world.enforce(policies({}, { pod: [r.pod1], ingress: [allow('', 'UDP')] }));
  admitted(t, world, fragment);
});

both('a reply passes because its flow was admitted, also where nothing may be opened that way', (t, world, r) => {
  world.enforce(policies({}, { pod: [r.pod1], ingress: [allow('')], egress: [] }));
  const asked = udp(end(r.client, 40000), end(r.pod1, 53));
  const answer = udp(end(r.pod1, 53), end(r.client, 40000));
  sendsNot(t, world, answer);
  admitted(t, world, asked);
  sends(t, world, answer);
  admitted(t, world, toPod(r));
  sends(t, world, answerTo(toPod(r)));
  sendsNot(t, world, fromPod(r, r.client, 40000));
});

both('an echo is answered by its identifier', (t, world, r) => {
  const { ask, answer } = ECHO[r.family];
  world.enforce(policies({}, { pod: [r.pod1], ingress: [], egress: [allow('')] }));
  denied(t, world, icmp(r.client, r.pod1, answer, 0, 7 << 16));
  sends(t, world, icmp(r.pod1, r.client, ask, 0, 7 << 16));
  admitted(t, world, icmp(r.client, r.pod1, answer, 0, 7 << 16));
  denied(t, world, icmp(r.client, r.pod1, answer, 0, 8 << 16));
  denied(t, world, icmp(r.client, r.pod1, ask, 0, 7 << 16));
});

both('an ICMP error passes with the flow that it quotes, and with no other', (t, world, r) => {
  world.enforce(policies({}, { pod: [r.pod1], ingress: [allow('', 'TCP', 8080)], egress: [] }));
  const answer = answerTo(toPod(r));
  const error = icmpError(r.gateway, r.pod1, { name: 'too big', mtu: 1300 }, answer);
  const complaint = icmpError(r.pod1, r.client, { name: 'port unreachable' }, toPod(r));
  denied(t, world, error);
  sendsNot(t, world, complaint);
  admitted(t, world, toPod(r));
  admitted(t, world, error);
  sends(t, world, complaint);
  const elsewhere = icmpError(r.gateway, r.pod1, { name: 'too big', mtu: 1300 }, answer.to(end(r.otherClient, 40000)));
  denied(t, world, elsewhere);
});

both('a change of policy cuts a flow that is no longer allowed, in both directions', (t, world, r) => {
  const segment = tcp(end(r.client, 40000), end(r.pod1, 8080), 'ACK');
  world.enforce(policies({}, { pod: [r.pod1], ingress: [allow('')], egress: [allow('')] }));
  admitted(t, world, toPod(r));
  admitted(t, world, segment);
  world.enforce(policies({}, { pod: [r.pod1], ingress: [], egress: [allow('')] }));
  denied(t, world, segment);
  sendsNotFor(t, world, tcp(end(r.pod1, 8080), end(r.client, 40000), 'ACK'));
  denied(t, world, segment);
});

/** Denied by the policies of the other direction, in which the flow was begun. */
function sendsNotFor(t: ExecutionContext, world: World, packet: Packet): void {
  const outcome = world.run('weir_pod_in', packet, 'pod1');
  happened(t, outcome, { ...EGRESS, drops: [{ reason: 'policy-egress' }] });
}

both('a flow that is still allowed goes on after a change of policy, replies included', (t, world, r) => {
  world.enforce(policies({}, { pod: [r.pod1], ingress: [allow('')], egress: [] }));
  admitted(t, world, udp(end(r.client, 40000), end(r.pod1, 53)));
  world.enforce(policies({}, { pod: [r.pod1], ingress: [allow('', 'UDP', 53)], egress: [] }));
  sends(t, world, udp(end(r.pod1, 53), end(r.client, 40000)));
});

both('with --keep-established a flow that was admitted goes on, and nothing new is', (t, world, r) => {
  const segment = tcp(end(r.client, 40000), end(r.pod1, 8080), 'ACK');
  world.configure({ policyFlags: 2 });
  world.enforce(policies({}, { pod: [r.pod1], ingress: [allow('')] }));
  admitted(t, world, toPod(r));
  world.enforce(policies({}, { pod: [r.pod1], ingress: [] }));
  admitted(t, world, segment);
  denied(t, world, toPod(r, r.otherClient));
  admitted(t, world, tcp(end(r.otherClient, 40000), end(r.pod1, 8080), 'ACK'));
});

both('TCP under way without an entry passes where the end that began it, as its port tells, may', (t, world, r) => {
  const inwards = tcp(end(r.client, 40000), end(r.pod1, 8080), 'ACK');
  const outwards = tcp(end(r.client, 443), end(r.pod1, 40000), 'ACK');
  const unclear = tcp(end(r.client, 40001), end(r.pod1, 40000), 'ACK');
  world.enforce(policies({}, { pod: [r.pod1], ingress: [] }));
  denied(t, world, inwards);
  admitted(t, world, outwards);
  admitted(t, world, unclear);
  world.enforce(policies({}, { pod: [r.pod1], ingress: [allow('', 'TCP', 8080)], egress: [] }));
  world.seen.forget();
  admitted(t, world, inwards);
  denied(t, world, outwards);
});

both('for the grace of a takeover the same holds for UDP', (t, world, r) => {
  const answer = udp(end(r.client, 53), end(r.pod1, 40000));
  world.enforce(policies({}, { pod: [r.pod1], ingress: [] }));
  denied(t, world, answer);
  world.configure({ graceUntil: 2n ** 60n });
  admitted(t, world, answer);
  denied(t, world, udp(end(r.client, 40000), end(r.pod1, 53)));
});

both("this node's own addresses and the pod itself are exempt, discovery too", (t, world, r) => {
  world.enforce(policies({}, { pod: [r.pod1], ingress: [], egress: [] }));
  admitted(t, world, toPod(r, r.node));
  sends(t, world, fromPod(r, r.nodeOnUp1));
  sends(t, world, fromPod(r, r.pod1));
  denied(t, world, toPod(r, r.node2));
  if (r.family === 'IPv6') {
    const solicitation = icmp('fe80::7' as Ip, r.pod1, 135, 0)
      .data(Buffer.alloc(16))
      .hops(255);
    admitted(t, world, solicitation);
    denied(t, world, solicitation.hops(254));
  }
});

both('an audited policy is told of once, and passes what it would deny', (t, world, r) => {
  world.enforce(policies({}, { pod: [r.pod1], ingress: [allow('')], auditIngress: [allow('', 'TCP', 80)] }));
  admitted(t, world, toPod(r, r.client, 80));
  const outcome = world.run('weir_pod_out', toPod(r), 'pod1');
  happened(t, outcome, {
    verdict: 'TC_ACT_OK',
    untouched: toPod(r),
    counters: { audited: 1 },
    drops: [{ reason: 'audited', hook: 'POD_OUT', rule: 'Policies shop/trial,shop/web ingress' }],
  });
  admitted(t, world, toPod(r));
});

both("an address at a pod's device that no known pod has passes, or not with --default-deny-unknown", (t, world, r) => {
  const to = tcp(end(r.client, 40000), end(r.podUnbound, 8080), 'SYN');
  const from = tcp(end(r.podUnbound, 40000), end(r.client, 80), 'SYN');
  const unknown = { verdict: 'TC_ACT_SHOT', counters: { 'unknown-endpoint': 1 }, drops: ['unknown-endpoint'] };
  passedUntouched(t, world.run('weir_pod_out', to, 'pod3'), to);
  world.configure({ policyFlags: 1 });
  happened(t, world.run('weir_pod_out', to, 'pod3'), unknown);
  happened(t, world.run('weir_pod_in', from, 'pod3'), unknown);
  const probe = tcp(end(r.node, 40000), end(r.podUnbound, 8080), 'SYN');
  passedUntouched(t, world.run('weir_pod_out', probe, 'pod3'), probe);
  world.enforce(policies({}, { pod: [r.podUnbound] }));
  passedUntouched(t, world.run('weir_pod_out', to, 'pod3'), to);
  passedUntouched(t, world.run('weir_pod_in', from, 'pod3'), from);
});

both("a foreign destination at a pod's device is judged as that pod's", (t, world, r) => {
  world.enforce(policies({}, { pod: [r.pod1], ingress: [allow('', 'TCP', 80)] }));
  denied(t, world, tcp(end(r.client, 40000), end(r.stranger, 8080), 'SYN'));
  admitted(t, world, tcp(end(r.client, 40000), end(r.stranger, 80), 'SYN'));
});

both("a source that is not the pod's own is dropped before any policy is asked", (t, world, r) => {
  world.enforce(policies({}, { pod: [r.pod1], egress: [] }));
  const outcome = world.run('weir_pod_in', fromPod(r).from(end(r.pod2, 40000)), 'pod1');
  happened(t, outcome, {
    verdict: 'TC_ACT_SHOT',
    counters: { 'spoofed-source': 1 },
    drops: ['spoofed-source'],
  });
});
