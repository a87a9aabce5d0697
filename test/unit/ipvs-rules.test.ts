/** Draining, schedulers, settings and the node's rows of the IPVS dataplane. */
import test from 'ava';
import type { Protocol } from '../../src/core/net.js';
import { WeirError } from '../../src/errors.js';
import { parsePrefix, type Prefix } from '../../src/core/net.js';
import type { Row } from '../../src/core/plan.js';
import { withDraining } from '../../src/ipvs/drain.js';
import { parseSaved } from '../../src/ipvs/ipvsadm-text.js';
import { Marks } from '../../src/ipvs/marks.js';
import { nodeRows } from '../../src/ipvs/node-rows.js';
import type { WantedServer } from '../../src/ipvs/placement.js';
import { chooseSchedule } from '../../src/ipvs/schedule.js';
import { reuseMode } from '../../src/ipvs/sysctls.js';
import { needingModules } from '../../src/ipvs/tools.js';
import { lostRows } from '../../src/ipvs/wanted.js';

const HAVE =
  '-A -t 10.96.0.1:80 -s rr\n-a -t 10.96.0.1:80 -r 10.1.0.1:80 -m -w 1\n-a -t 10.96.0.1:80 -r 10.1.0.2:80 -m -w 1';
const KEY = '-t 10.96.0.1:80';
const GONE = `${KEY} 10.1.0.2:80`;
const FRONTEND = '10.96.0.1 . tcp . 80';
const LOST = { table: 'lost_outside4', key: FRONTEND, value: '' };

function wantedAs(text: string, more: Partial<WantedServer>): Map<string, WantedServer> {
  const rest = {
    protocol: 'TCP',
    frontend: FRONTEND,
    serving: new Set<string>(),
    lost: LOST,
    refused: [],
    ...more,
  } as const;
  return new Map([...parseSaved(text)].map(([key, server]) => [key, { ...server, ...rest }]));
}

function wants(scheduler: string, protocol: Protocol): Map<string, WantedServer> {
  const text = `-A -t 10.96.0.1:80 -s ${scheduler}\n-a -t 10.96.0.1:80 -r 10.1.0.1:80 -m -w 1`;
  return wantedAs(text, { protocol });
}

function wantsAll(): Map<string, WantedServer> {
  return wantedAs(HAVE, {});
}

function weights(have: string, want: Map<string, WantedServer>, deadlines: Map<string, number>, now: number) {
  const drained = withDraining(parseSaved(have), want, new Marks(), deadlines, now, 1000);
  const servers = [...(drained.servers.get(KEY)?.servers ?? [])].map(([name, { weight }]) => `${name} ${weight}`);
  return { servers, deadlines: Object.fromEntries(drained.deadlines) };
}

test('a removed real server keeps its connections, and gets no new ones, until its deadline', (t) => {
  const want = wants('rr', 'TCP');
  const draining = { servers: ['10.1.0.1:80 1', '10.1.0.2:80 0'], deadlines: { [GONE]: 6000 } };
  t.deepEqual(weights(HAVE, want, new Map(), 5000), draining);
  t.deepEqual(weights(HAVE, want, new Map([[GONE, 6000]]), 5999), draining, 'a restart does not begin again');
  t.deepEqual(weights(HAVE, want, new Map([[GONE, 6000]]), 6000), { servers: ['10.1.0.1:80 1'], deadlines: {} });
});

test('a real server that comes back is as before', (t) => {
  const want = wantsAll();
  t.deepEqual(weights(HAVE, want, new Map([[GONE, 6000]]), 5500), {
    servers: ['10.1.0.1:80 1', '10.1.0.2:80 1'],
    deadlines: {},
  });
});

test('one that still serves others keeps its connections as long as it does, and its grace after that', (t) => {
  const serves = wantedAs(HAVE.split('\n').slice(0, 2).join('\n'), {
    serving: new Set(['10.1.0.1:80', '10.1.0.2:80']),
  });
  const first = weights(HAVE, serves, new Map(), 5000);
  t.deepEqual(first.servers, ['10.1.0.1:80 1', '10.1.0.2:80 0']);
  const known = new Map(Object.entries(first.deadlines));
  const later = weights(HAVE, serves, known, 9_000_000);
  t.deepEqual(later, first, 'it may take as long as it likes');
  t.deepEqual(
    weights(HAVE, serves, new Map([[GONE, 0]]), 9000).servers,
    ['10.1.0.1:80 1'],
    'it has no connection left',
  );
  const over = weights(HAVE, wants('rr', 'TCP'), known, 9_000_000);
  t.deepEqual(over.deadlines, { [GONE]: 9_001_000 });
});

test('a virtual server that its frontend has no longer keeps its connections, another’s does not', (t) => {
  const marks = new Marks();
  const [outside, inside, gone] = [
    'outside 192.0.2.1 . tcp . 80',
    `inside ${FRONTEND}`,
    'inside 10.96.0.9 . tcp . 80',
  ].map((name) => `-f ${marks.of(name)}`);
  const real = '-r 10.1.0.1:80 -m -w 1';
  const have = parseSaved(
    [KEY, '-t 192.0.2.1:80', inside, gone].map((key) => `-A ${key} -s rr\n-a ${key} ${real}`).join('\n'),
  );
  const want = new Map([
    ...wantedAs(`-A ${KEY} -s rr\n-a ${KEY} ${real}`, {}),
    ...wantedAs(`-A ${outside} -s rr\n-a ${outside} ${real}`, { frontend: '192.0.2.1 . tcp . 80' }),
  ]);
  const kept = (known: Map<string, number>, now: number): string[] =>
    [...withDraining(have, want, marks, known, now, 1000).servers].map(
      ([key, { servers }]) => `${key} ${[...servers.values()].map(({ weight }) => weight).join()}`,
    );
  const wanted = [`${KEY} 1`, `${outside} 1`];
  t.deepEqual(kept(new Map(), 5000), [...wanted, '-t 192.0.2.1:80 0', `${inside} 0`]);
  const ends = ['-t 192.0.2.1:80', `${inside}`].map((key): [string, number] => [`${key} 10.1.0.1:80`, 6000]);
  t.deepEqual(kept(new Map(ends), 6000), wanted);
});

for (const [scheduler, protocol] of [
  ['rr', 'UDP'],
  ['dh', 'TCP'],
] as const) {
  test(`a removed real server of ${protocol} by ${scheduler} goes at once`, (t) => {
    t.deepEqual(weights(HAVE, wants(scheduler, protocol), new Map(), 5000).servers, ['10.1.0.1:80 1']);
  });
}

const SCHEDULES: readonly [ours: string, weights: readonly number[], theirs: string][] = [
  ['maglev', [1, 1], 'mh mh-fallback mh-port'],
  ['maglev', [1, 3], 'mh mh-fallback mh-port'],
  ['rr', [1, 1], 'rr'],
  ['rr', [1, 3], 'wrr'],
  ['random', [1, 1], 'rr'],
  ['lc', [1, 1], 'lc'],
  ['lc', [2, 1], 'wlc'],
  ['sh', [1, 1], 'sh sh-fallback'],
  ['dh', [1, 1], 'dh'],
];

for (const [ours, given, theirs] of SCHEDULES) {
  test(`${ours} with weights ${given.join()} is ${theirs}`, (t) => {
    const { scheduler, flags } = chooseSchedule(ours, given);
    t.is([scheduler, ...flags].join(' '), theirs);
  });
}

for (const [release, mode] of [
  ['4.19.0-27-amd64', '0'],
  ['5.8.18', '0'],
  ['5.9.0', '1'],
  ['5.10.0-46-amd64', '1'],
  ['6.1.0-56-amd64', '1'],
] as const) {
  test(`Linux ${release} reuses ports in mode ${mode}`, (t) => t.is(reuseMode(release), mode));
}

test('ranges of the cluster are the outermost prefixes, and stay as they are until the nodes are known', (t) => {
  const roles = { uplinks: [], pods: [], bridges: [], missing: [] };
  const prefixes = (...texts: string[]): Prefix[] => texts.flatMap((text) => parsePrefix(text) ?? []);
  const ranges = {
    sources: prefixes('10.0.0.1', '10.0.0.1', '10.0.0.0/24', '10.1.0.1', 'fd00::1'),
    cluster: prefixes('10.244.0.0/16', '10.244.1.0/24'),
  };
  const isRange = ({ table }: Row): boolean => /^(tunnel_sources|cluster)/.test(table);
  const rows = nodeRows(roles, ranges, []).filter(isRange);
  t.deepEqual(
    rows.map(({ table, key }) => `${table} ${key}`),
    [
      ...['tunnel_sources4 10.0.0.0/24', 'tunnel_sources4 10.1.0.1', 'tunnel_sources6 fd00::1'],
      ...['cluster4 10.244.0.0/16', 'cluster6 ::/0'],
    ],
    'of a family without ranges, every address is the cluster’s',
  );
  t.deepEqual(nodeRows(roles, { sources: undefined, cluster: undefined }, rows).filter(isRange), rows);
});

test('what fails for want of a kernel module names the module, anything else is told as it is', (t) => {
  const failing = (message: string) => () => {
    throw new WeirError('WEIR_TOOL', message);
  };
  const kind = /Unknown device type/;
  const missing = t.throws(() =>
    needingModules(['dummy'], kind, failing('run ip -batch -: Error: Unknown device type.')),
  );
  t.like(missing, { code: 'WEIR_KERNEL_MODULE', message: 'use IPVS: the kernel module dummy is not there' });
  const other = t.throws(() =>
    needingModules(['dummy'], kind, failing('run ip -batch -: RTNETLINK answers: File exists')),
  );
  t.like(other, { code: 'WEIR_TOOL' });
});

test('a virtual server is lost once it has no real server left, not even one that only keeps its connections', (t) => {
  const have = parseSaved(HAVE);
  const want = new Map([...wantsAll()].map(([key, server]) => [key, { ...server, servers: new Map() }]));
  const leaving = withDraining(have, want, new Marks(), new Map(), 1000, 300);
  t.deepEqual(lostRows(want, leaving.servers), []);
  const over = withDraining(have, want, new Marks(), leaving.deadlines, 1300, 300);
  t.deepEqual(lostRows(want, over.servers), [LOST]);
});
