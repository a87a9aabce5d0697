/** What nftables is told of policies, by a reading of its rules as the kernel reads them: sets and verdicts from the top. */
import test from 'ava';
import type { Ip, Protocol } from '../../src/core/net.js';
import { compilePolicy } from '../../src/core/policy/compiler.js';
import type { PolicyState } from '../../src/core/policy/state.js';
import { Blocks, rangeText } from '../../src/ipvs/policy-blocks.js';
import { portLines } from '../../src/ipvs/policy-ports.js';
import { programOf } from '../../src/ipvs/policy-program.js';
import { PolicyCompilation, type PolicyRows } from '../../src/ipvs/policy-rows.js';
import { policyChange, type PolicyHeld } from '../../src/ipvs/policy-text.js';
import { ips } from '../helpers/model.js';
import { Judge } from '../helpers/policy-judge.js';
import { app, block, objectsOf, pod, policy, rule, tcp } from '../helpers/policy-model.js';

const ROLES = { uplinks: [], pods: [], bridges: [], missing: [] };

/** As the kernel has it afterwards. */
function held({ chains, ...rest }: PolicyRows): PolicyHeld {
  return { ...rest, chains: new Map([...chains].map(([name, lines]) => [name, lines.join()])) };
}

function number(ip: string): bigint {
  return BigInt(ip.split('.').reduce((sum, part) => sum * 256 + Number(part), 0));
}

/** Follows `in_...` for a peer as the kernel does. */
function allows(
  { chains, members, rows }: PolicyRows,
  subject: Ip,
  peer: Ip,
  protocol: Protocol,
  port: number,
): boolean {
  let chain = rows.get(`ingress4\0${subject}`)?.value.replace('jump ', '');
  if (chain === undefined) return true;
  for (;;) {
    const line: string | undefined = chains.get(chain)?.find((text) => holds(text, members, peer, protocol, port));
    if (line === undefined || line.includes('return')) return true;
    if (line.endsWith('drop')) return false;
    chain = line.slice(line.lastIndexOf(' ') + 1);
  }
}

function holds(text: string, members: PolicyRows['members'], peer: Ip, protocol: Protocol, port: number): boolean {
  if (text.startsWith('counter') || text.startsWith('jump')) return false;
  const set = /saddr @(\S+)/.exec(text)?.[1];
  if (set !== undefined && !contains(set, members, peer)) return false;
  const l4 = /l4proto (\S+)/.exec(text)?.[1];
  if (l4 !== undefined && l4 !== protocol.toLowerCase()) return false;
  const ports = /proto-src (?:\{ (.*) \}|(\S+))/.exec(text);
  if (!ports) return true;
  return (ports[1] ?? ports[2] ?? '').split(', ').some((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return port >= first && port <= last;
  });
}

function contains(set: string, members: PolicyRows['members'], peer: Ip): boolean {
  if (!/^[a-z]+4/.test(set)) return false;
  const list = members.get(set) ?? new Set<string>();
  if (set.startsWith('peers')) return list.has(peer);
  return [...list].some((range) => {
    const [first = '', last = ''] = range.split('-');
    return number(first) <= number(peer) && number(peer) <= number(last);
  });
}

const OBJECTS = objectsOf(
  pod('web', '10.1.0.1'),
  pod('front', '10.1.0.2', { nodeName: 'node-2' }),
  pod('front-b', '10.1.0.3', { nodeName: 'node-2', labels: { app: 'front' } }),
  pod('other', '10.1.0.4', { nodeName: 'node-2' }),
  policy('web', {
    podSelector: app('web'),
    ingress: [
      rule({ peers: [{ kind: 'pods', pods: app('front') }], ports: [tcp(80)] }),
      rule({ peers: [block('10.0.0.0/8', '10.1.0.0/16', '10.2.3.0/24')], ports: [tcp(81, 99)] }),
      rule({ peers: [block('10.2.0.0/16')], ports: [tcp(443)] }),
      rule({ ports: [tcp(22)] }),
    ],
  }),
);
const STATE: PolicyState = compilePolicy(OBJECTS, { nodeName: 'node-1', denyAction: 'drop' });
const PEERS = ips('10.1.0.2', '10.1.0.3', '10.1.0.4', '10.1.9.9', '10.2.3.4', '10.2.4.4', '10.3.0.1', '192.0.2.1');

test('the chains of nftables allow what the tables of the compiler allow', (t) => {
  const rows = new PolicyCompilation().rows(STATE, ROLES);
  const judge = new Judge(STATE);
  const [subject] = ips('10.1.0.1');
  const seen = new Set<boolean>();
  for (const peer of PEERS) {
    for (const protocol of ['TCP', 'UDP'] as const) {
      for (const port of [22, 80, 81, 90, 99, 100, 443]) {
        const wanted = judge.allows(STATE.subjects.get(subject!)?.ingress, judge.classOf(peer), protocol, port);
        seen.add(wanted);
        t.is(allows(rows, subject!, peer, protocol, port), wanted, `${peer} ${protocol} ${port}`);
      }
    }
  }
  t.is(seen.size, 2);
});

test('ports of a rule become the fewest ranges, whatever the order of the prefixes', (t) => {
  const entry = (port: number, bits: number, protocol: Protocol | 'any' = 'TCP', name = 'x/web ingress[0]') => ({
    ...{ protocol, port, bits },
    rule: `NetworkPolicy ${name}`,
  });
  t.deepEqual(portLines([entry(1024, 6), entry(80, 16), entry(2048, 5)]), [
    'meta l4proto tcp ct reply proto-src { 80, 1024-4095 } return comment "x/web ingress[0]"',
  ]);
  t.deepEqual(portLines([entry(0, 0, 'UDP')]), ['meta l4proto udp return comment "x/web ingress[0]"']);
  t.deepEqual(portLines([entry(80, 16, 'TCP', 'x/a ingress[0]'), entry(0, 0, 'any', 'x/b ingress[0]')]), [
    'return comment "x/b ingress[0]"',
    'meta l4proto tcp ct reply proto-src 80 return comment "x/a ingress[0]"',
  ]);
  t.deepEqual(portLines([]), []);
  const [long] = portLines([entry(0, 0, 'any', `x/${'n'.repeat(253)} ingress[12]`)]);
  t.regex(long ?? '', /^return comment "x\/n{106} ingress\[12\]"$/);
});

test('one address more among many is one element, and one compiled from scratch is no other', (t) => {
  const compilation = new PolicyCompilation();
  const classes = new Map(STATE.classes);
  const before = compilation.rows({ ...STATE, classes }, ROLES);
  const name = STATE.classes.get('10.1.0.2/32');
  t.truthy(name);
  classes.set('10.1.0.77/32', name!);
  const after = compilation.rows({ ...STATE, classes }, ROLES);
  const change = (from: PolicyRows, to: PolicyRows) => policyChange(held(from), to, held(from).chains);
  t.deepEqual(change(before, before), { text: '', size: 0, chains: 0 });
  t.regex(change(before, after).text, /^add element inet weir-policy peers4_in_\S+ \{ 10\.1\.0\.77 \}\n$/);
  t.deepEqual(after, new PolicyCompilation().rows({ ...STATE, classes }, ROLES));

  classes.delete('10.1.0.77/32');
  const again = compilation.rows({ ...STATE, classes }, ROLES);
  t.regex(change(after, again).text, /^delete element \S+ \S+ \S+ \{ 10\.1\.0\.77 \}\n$/);
});

test('blocks within blocks are ranges that do not overlap', (t) => {
  const blocks = new Blocks();
  blocks.follow(
    new Map([
      ['10.0.0.0/8', 'a'],
      ['10.1.0.0/16', 'b'],
      ['10.1.2.0/24', 'a'],
      ['::/0', 'w'],
    ]),
  );
  t.deepEqual(
    blocks.ranges.v4.map((range) => `${rangeText(range, 'v4')} ${range.name}`),
    [
      '10.0.0.0-10.0.255.255 a',
      '10.1.0.0-10.1.1.255 b',
      '10.1.2.0-10.1.2.255 a',
      '10.1.3.0-10.1.255.255 b',
      '10.2.0.0-10.255.255.255 a',
    ],
  );
  const ranges6 = (): string[] => blocks.ranges.v6.map((range) => rangeText(range, 'v6'));
  t.deepEqual(ranges6(), ['::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff']);
  blocks.follow(
    new Map([
      ['::/80', 'a'],
      ['::fffe:0:0/96', 'b'],
    ]),
  );
  t.deepEqual(
    ranges6(),
    ['::-::fffd:ffff:ffff', '::fffe:0:0-::fffe:ffff:ffff', '::ffff:0:0-::ffff:ffff:ffff'],
    'IPv6 goes on where addresses of IPv4 count',
  );
});

test('what only resembles a connection is dropped where policy rejects', (t) => {
  const deny = (action: 'drop' | 'reject'): string[] => {
    const set = { direction: 'ingress', action, policies: ['shop/web'], entries: [] } as const;
    const { chains } = programOf('web', set, 'enforce', new Blocks());
    return [...chains].flatMap(([name, lines]) => (name.startsWith('deny_') ? lines : [])).slice(2);
  };
  t.deepEqual(deny('drop'), ['drop']);
  t.deepEqual(deny('reject').slice(0, 2), ['ct state invalid drop', 'meta l4proto tcp reject with tcp reset']);
});
