import test from 'ava';
import { type ClassRule, closestRule, portsOf } from '../../src/core/policy/closest.js';

const API = 2;
const JOB = 3;

function allows(rule: string, peers: number, protocol: ClassRule['protocol'], port = 0, bits = 16): ClassRule {
  return { rule: `NetworkPolicy ${rule}`, class: peers, protocol, port, bits: port === 0 ? 0 : bits };
}

const RULES = [
  allows('x/a ingress[0]', API, 'TCP', 80),
  allows('x/a ingress[1]', JOB, 'TCP', 81),
  allows('x/b ingress[0]', 0, 'UDP', 53),
];

const cases: readonly [what: string, peers: number, protocol: string, port: number, expected: string][] = [
  [
    'another port of the protocol comes before another protocol',
    API,
    'TCP',
    81,
    'x/a ingress[0] allows tcp/80, not 81',
  ],
  ['another protocol comes before other peers', API, 'SCTP', 81, 'x/a ingress[0] allows tcp/80, not sctp/81'],
  ['a rule for everybody is for this peer, too', 0, 'UDP', 54, 'x/b ingress[0] allows udp/53, not 54'],
  ['what is allowed meanwhile', JOB, 'TCP', 81, 'x/a ingress[1] allows it now'],
  ['a protocol without ports', 9, 'ICMP', 0, 'x/b ingress[0] allows udp/53, not icmp'],
];

for (const [what, peers, protocol, port, expected] of cases) {
  test(what, (t) => {
    const found = closestRule(RULES, { direction: 'ingress', class: peers, protocol, port });
    t.is(`${found?.rule} ${found?.lacks.join(', ')}`, expected);
  });
}

test('rules for others: first those that lack the peer alone', (t) => {
  const rules = [allows('x/a egress[0]', JOB, 'TCP', 81), allows('x/b egress[0]', JOB, 'TCP', 80)];
  const denied = { direction: 'egress', class: API, protocol: 'TCP' } as const;
  t.deepEqual(closestRule(rules, { ...denied, port: 80 }), {
    rule: 'x/b egress[0]',
    lacks: ['allows tcp/80 to other peers'],
  });
  t.deepEqual(closestRule(rules, { ...denied, port: 79 }), {
    rule: 'x/a egress[0]',
    lacks: ['allows tcp/81 to other peers, not 79'],
  });
  t.is(closestRule([], { ...denied, port: 80 }), undefined);
});

test('leading bits of ports are told as the ranges that they make', (t) => {
  /* 1000 to 1009 as the compiler splits it */
  const split: readonly [number, number][] = [
    [1000, 13],
    [1008, 15],
  ];
  const entries = split.map(([port, bits]) => allows('x/a ingress[0]', API, 'TCP', port, bits));
  t.is(portsOf(entries), 'tcp/1000-1009');
  t.is(
    portsOf([...entries, allows('x/a ingress[0]', JOB, 'TCP', 80), allows('x/a ingress[0]', 0, 'UDP')]),
    'tcp/80, tcp/1000-1009, udp',
  );
  t.is(portsOf([allows('x/a ingress[0]', API, 'any')]), 'everything');
});
