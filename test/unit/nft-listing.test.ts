/** What the reading commands tell of policies, from tables as nft -j lists them. */
import test from 'ava';
import { closestRule } from '../../src/core/policy/closest.js';
import { chainDigests, changedChains, type ListedChains } from '../../src/ipvs/chains.js';
import { parsePolicyTable } from '../../src/ipvs/policy-kernel.js';
import { policyListing } from '../../src/ipvs/policy-listing.js';
import { ips } from '../helpers/model.js';

const ID = '0123456789ab_0123456789ab';
const l4 = (protocol: string) => ({ match: { op: '==', left: { meta: { key: 'l4proto' } }, right: protocol } });
const ports = (right: unknown) => ({
  match: { op: '==', left: { ct: { key: 'proto-src', dir: 'reply' } }, right },
});
const from = (set: string) => ({
  match: { op: '==', left: { ct: { key: 'ip saddr', dir: 'original' } }, right: `@${set}` },
});
const leads = (target: string) => ({ goto: { target } });
const RETURN = { return: null };

const RULES: readonly [chain: string, comment: string | undefined, ...expr: object[]][] = [
  [`deny_in_${ID}`, 'x/deny,x', { counter: { packets: 3, bytes: 9 } }],
  [`deny_in_${ID}`, '/web', { continue: null }],
  [`deny_in_${ID}`, undefined, { jump: { target: 'record_ingress' } }],
  [`deny_in_${ID}`, undefined, { reject: { type: 'icmpx', expr: 'admin-prohibited' } }],
  /* as nft 1.0 says it */
  [
    `ports_${ID}`,
    'x/web ingress[0]',
    l4('tcp'),
    ports({ set: ['0x50 [invalid type]', { range: [1024, 2047] }] }),
    RETURN,
  ],
  [`ports_${ID}`, undefined, leads(`deny_in_${ID}`)],
  [`in_${ID}`, 'x/web ingress[1]', l4('udp'), ports(53), RETURN],
  [`in_${ID}`, undefined, from('peers4_in_1_a'), leads(`ports_${ID}`)],
  [`in_${ID}`, undefined, from('peers4_in_1_nobody'), leads(`deny_in_${ID}`)],
  [`in_${ID}`, undefined, from('blocks4_in_1_a'), leads(`ports_${ID}`)],
  [`in_${ID}`, undefined, leads(`deny_in_${ID}`)],
];

const set = (name: string, ...elem: unknown[]) => ({ set: { name, elem } });
const TABLE = JSON.stringify({
  nftables: [
    set('known4', { elem: { val: '10.1.0.1', comment: 'x/a' } }, { elem: { val: '10.1.0.2', comment: 'x/b' } }),
    set('peers4_in_1_a', '10.1.0.7'),
    set('peers4_in_1_nobody', '10.2.0.9'),
    set('blocks4_in_1_a', { prefix: { addr: '10.2.0.0', len: 16 } }),
    { map: { name: 'ingress4', elem: [['10.1.0.1', { jump: { target: `in_${ID}` } }]] } },
    ...[`deny_in_${ID}`, `ports_${ID}`, `in_${ID}`].map((name) => ({ chain: { name } })),
    ...RULES.map(([chain, comment, ...expr]) => ({ rule: { chain, ...(comment ? { comment } : {}), expr } })),
  ],
});

test('chains are the same whatever they have counted, and others with any other rule or hook', (t) => {
  const { nftables } = JSON.parse(TABLE) as { nftables: ListedChains[] };
  const known = chainDigests(nftables);
  t.regex(known.get(`in_${ID}`) ?? '', /^5 rules, [0-9a-f]{12}$/);
  const changed = (next: (part: ListedChains) => ListedChains): string[] =>
    changedChains(known, chainDigests(nftables.map(next)));
  const edited = (part: ListedChains, from: string, to: string): ListedChains =>
    JSON.parse(JSON.stringify(part).replace(from, to)) as ListedChains;
  t.deepEqual(
    changed((part) => edited(part, '"packets":3', '"packets":4')),
    [],
  );
  t.deepEqual(
    changed((part) => edited(part, '"right":53', '"right":54')),
    [`in_${ID}`],
  );
  t.deepEqual(
    changed((part) => edited(part, `"chain":{"name":"ports_${ID}"`, `"chain":{"policy":"drop","name":"ports_${ID}"`)),
    [`ports_${ID}`],
  );
  t.deepEqual(changedChains(known, new Map()).length, 3, 'and where there are none');
});

const listing = policyListing(parsePolicyTable(TABLE));
const [isolated, free] = ips('10.1.0.1', '10.1.0.2');

test('pods, their policies and the action are told from the table', (t) => {
  t.deepEqual(
    [...listing.pods],
    [
      [isolated, 'x/a'],
      [free, 'x/b'],
    ],
  );
  const program = listing.program('ingress', isolated!);
  t.deepEqual(program?.policies, ['x/deny', 'x/web']);
  t.is(program?.action, 'reject');
  t.is(listing.program('egress', isolated!), undefined);
  t.is(listing.program('ingress', free!), undefined);
});

const NEAREST = [
  { name: 'another port', peer: '10.1.0.7', protocol: 'TCP', port: 81, lacks: 'allows tcp/80, tcp/1024-2047, not 81' },
  { name: 'a peer within a block', peer: '10.2.3.4', protocol: 'TCP', port: 80, lacks: 'allows it now' },
  { name: 'a peer cut out of it', peer: '10.2.0.9', protocol: 'UDP', port: 54, lacks: 'allows udp/53, not 54' },
] as const;

for (const { name, peer, protocol, port, lacks } of NEAREST) {
  test(`the nearest rule is told by the peer's sets: ${name}`, (t) => {
    const program = listing.program('ingress', isolated!)!;
    const [address] = ips(peer);
    const near = closestRule(program.rules, { direction: 'ingress', class: program.classOf(address!), protocol, port });
    t.deepEqual(near?.lacks, [lacks]);
  });
}
