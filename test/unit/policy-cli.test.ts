/** `weir policy check` and `weir policy matrix` on folders of manifests. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { rawNamespace, rawNode, rawPod, rawPolicy, rawService, rawSlice } from '../helpers/samples.js';
import { type Answer, weir } from './cli-context.js';

async function folder(t: ExecutionContext, ...objects: unknown[]): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'weir-policy-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const list = { apiVersion: 'v1', kind: 'List', items: objects };
  await writeFile(join(directory, 'all.json'), JSON.stringify(list));
  return directory;
}

const PODS = [rawPod('web', '10.1.0.1'), rawPod('api', '10.1.0.2'), rawPod('db', '10.1.0.3')];
const allow = (app: string, ports: unknown[], annotations = {}): object =>
  rawPolicy(
    'db',
    {
      podSelector: { matchLabels: { app: 'db' } },
      ingress: [{ from: [{ podSelector: { matchLabels: { app } } }], ports }],
    },
    annotations,
  );
const DB = allow('api', [{ port: 5432 }]);

async function check(t: ExecutionContext, objects: unknown[], from: string, to: string, port: string): Promise<Answer> {
  const directory = await folder(t, ...objects);
  return weir(['policy', 'check', '--manifests', directory, '--from', from, '--to', to, '--port', port]);
}

test('a connection that a rule allows: exit code 0, and the rule', async (t) => {
  const { code, stdout } = await check(t, [...PODS, DB], 'shop/api', 'shop/db', '5432/tcp');
  t.is(code, 0);
  t.is(
    stdout,
    `allowed: shop/api (10.1.0.2) -> shop/db (10.1.0.3) tcp/5432
  egress of shop/api: allowed, no policy isolates it
  ingress of shop/db: allowed by shop/db ingress[0]
`,
  );
});

test('a connection that no rule allows: exit code 1, who isolates, and what the nearest rule lacks', async (t) => {
  const deny = rawPolicy('deny', { policyTypes: ['Ingress'] }, { 'weir.io/deny-action': 'reject' });
  const { code, stdout } = await check(t, [...PODS, DB, deny], 'shop/web', 'shop/db', '5433');
  t.is(code, 1);
  t.is(
    stdout,
    `denied: shop/web (10.1.0.1) -> shop/db (10.1.0.3) tcp/5433
  egress of shop/web: allowed, no policy isolates it
  ingress of shop/db: denied (reject) by shop/db, shop/deny
    nearest rule: shop/db ingress[0]
      is for pods with app=api in namespace shop; shop/web has app=web
      allows tcp/5432, not 5433
`,
  );
});

interface Lack {
  readonly name: string;
  readonly from: string;
  readonly spec: Record<string, unknown>;
  readonly port?: string;
  readonly lacks: readonly string[];
}

const peer = (...from: unknown[]): Record<string, unknown> => ({ ingress: [{ from }] });
const LACKS: readonly Lack[] = [
  {
    name: 'another protocol',
    from: 'shop/web',
    spec: { ingress: [{ ports: [{ port: 80 }, { protocol: 'SCTP' }] }] },
    port: '80/udp',
    lacks: ['allows tcp/80, sctp, not udp/80'],
  },
  {
    name: 'a named port that means another number',
    from: 'shop/web',
    spec: { ingress: [{ ports: [{ port: 'http' }, { port: 'metrics' }, { port: 9000, endPort: 9010 }] }] },
    lacks: [
      'allows tcp/http (which is 8080 at shop/db), tcp/metrics (which is no port of shop/db), tcp/9000-9010, not 80',
    ],
  },
  {
    name: 'a label that is not there',
    from: 'shop/web',
    spec: peer({ podSelector: { matchExpressions: [{ key: 'tier', operator: 'Exists' }] } }),
    lacks: ['is for pods with tier in namespace shop; shop/web has no label tier'],
  },
  {
    name: 'another namespace',
    from: 'other/web',
    spec: peer({ podSelector: {} }),
    lacks: ['is for pods in namespace shop; other/web is in namespace other'],
  },
  {
    name: 'a label of the namespace',
    from: 'other/web',
    spec: peer({ namespaceSelector: { matchLabels: { team: 'a' } } }),
    lacks: ['is for pods in namespaces with team=a; namespace other has team=b'],
  },
  {
    name: 'an address outside',
    from: '192.0.2.1',
    spec: peer({ ipBlock: { cidr: '10.0.0.0/8' } }, { podSelector: {} }),
    lacks: ['is for 10.0.0.0/8; 192.0.2.1 is outside'],
  },
  {
    name: 'an address that is excepted',
    from: '10.9.0.1',
    spec: peer({ ipBlock: { cidr: '10.0.0.0/8', except: ['10.9.0.0/16'] } }),
    lacks: ['is for 10.0.0.0/8 except 10.9.0.0/16, where 10.9.0.1 is'],
  },
  {
    name: 'no pod at all',
    from: '192.0.2.1',
    spec: peer({ namespaceSelector: {} }),
    lacks: ["is for pods in any namespace; 192.0.2.1 is no pod's address"],
  },
  {
    name: 'a pod on the network of its host',
    from: 'shop/host',
    spec: peer({ podSelector: {} }),
    lacks: ['is for pods in namespace shop; 10.0.0.2 is of node node-2, which no selector matches'],
  },
];
for (const { name, from, spec, port = '80', lacks } of LACKS) {
  test(`the nearest rule lacks ${name}`, async (t) => {
    const other = { name: 'web', namespace: 'other', labels: { app: 'web' } };
    const host = rawPod('host', '10.0.0.2', { spec: { nodeName: 'node-2', hostNetwork: true } });
    const directory = await folder(
      t,
      ...PODS,
      host,
      rawPod('web', '10.2.0.1', { metadata: other }),
      rawNamespace('other', { team: 'b' }),
      rawPolicy('p', spec),
    );
    const args = ['policy', 'check', '--manifests', directory, '--from', from, '--to', 'shop/db', '--port', port];
    const { code, stdout } = await weir([...args, '-o', 'json']);
    t.is(code, 1);
    t.like(JSON.parse(stdout), {
      0: { verdict: 'denied', ingress: { nearest: { rule: 'shop/p ingress[0]', lacks } } },
    });
  });
}

test('of several rules the one that lacks least is the nearest, of equals the first', async (t) => {
  const rule = (label: string, port: number): object => ({
    from: [{ podSelector: { matchLabels: { app: label } } }],
    ports: [{ port }],
  });
  const nearest = async (...ingress: object[]): Promise<string | undefined> => {
    const objects = [...PODS, rawPolicy('p', { ingress })];
    const { stdout } = await check(t, objects, 'shop/web', 'shop/db', '80');
    return /nearest rule: shop\/p (.*)/.exec(stdout)?.[1];
  };
  t.is(await nearest(rule('api', 81), rule('web', 81), rule('api', 82)), 'ingress[1]');
  t.is(await nearest(rule('web', 81), rule('web', 82)), 'ingress[0]');
});

test('a policy without any rule has no nearest one', async (t) => {
  const { stdout } = await check(t, [...PODS, rawPolicy('deny', {})], 'shop/web', 'shop/db', '80');
  t.regex(stdout, /denied \(drop\) by shop\/deny\n {4}none of them has a rule that allows anything\n/);
});

test('an audited policy denies nothing, and what it would deny is said', async (t) => {
  const audited = allow('api', [], { 'weir.io/mode': 'audit' });
  const { code, stdout } = await check(t, [...PODS, audited], 'shop/web', 'shop/db', '80');
  t.is(code, 0);
  t.regex(
    stdout,
    /ingress of shop\/db: allowed, no policy isolates it\n {4}audited policies would deny it: shop\/db\n/,
  );
});

test('a pod reaches itself, and its node reaches it', async (t) => {
  const deny = rawPolicy('deny', { policyTypes: ['Ingress', 'Egress'] });
  const objects = [...PODS, deny, rawNode('node-1', '192.0.2.9'), rawNode('node-2', '192.0.2.10')];
  t.regex((await check(t, objects, 'shop/db', 'shop/db', '80')).stdout, /^allowed.*\n {2}a pod always reaches itself/);
  t.is((await check(t, objects, '192.0.2.9', 'shop/db', '80')).code, 0);
  t.is((await check(t, objects, '192.0.2.10', 'shop/db', '80')).code, 1);
});

test('a service is judged by its endpoints and their ports', async (t) => {
  const objects = [
    ...PODS,
    rawService('db', 1),
    rawSlice('db', ['10.1.0.3', '10.1.0.1']),
    allow('api', [{ port: 8080 }]),
  ];
  objects[2] = rawPod('db', '10.1.0.3', { metadata: { name: 'db-0', namespace: 'shop', labels: { app: 'db' } } });
  const { code, stdout } = await check(t, objects, 'shop/api', 'shop/db', '80');
  t.is(code, 0);
  t.deepEqual(stdout.match(/^\w+: .*$/gm), [
    'allowed: shop/api (10.1.0.2) -> shop/web (10.1.0.1) tcp/8080',
    'allowed: shop/api (10.1.0.2) -> shop/db-0 (10.1.0.3) tcp/8080',
  ]);
  t.is((await check(t, objects, 'shop/web', 'shop/db', '80')).code, 1);
  const wrong = await check(t, objects, 'shop/api', 'shop/db', '81');
  t.deepEqual([wrong.code, /only 80\/tcp/.test(wrong.stderr)], [2, true]);
});

test('both families are judged, each by its own rules', async (t) => {
  const both = rawPod('db', '', { status: { podIPs: [{ ip: '10.1.0.3' }, { ip: 'fd00::3' }] } });
  const four = rawPolicy('p', peer({ ipBlock: { cidr: '0.0.0.0/0' } }));
  const web = rawPod('web', '', { status: { podIPs: [{ ip: '10.1.0.1' }, { ip: 'fd00::1' }] } });
  const { code, stdout } = await check(t, [web, both, four], 'shop/web', 'shop/db', '80');
  t.is(code, 1);
  t.deepEqual(stdout.match(/^\w+: .*$/gm), [
    'allowed: shop/web (10.1.0.1) -> shop/db (10.1.0.3) tcp/80',
    'denied: shop/web (fd00::1) -> shop/db (fd00::3) tcp/80',
  ]);
});

test('a pod without an address yet is judged by its labels', async (t) => {
  const pending = rawPod('api', '', { status: {} });
  const { code, stdout } = await check(t, [pending, rawPod('db', '10.1.0.3'), DB], 'shop/api', 'shop/db', '5432');
  t.is(code, 0, stdout);
});

test('what is not there, or not understood, is wrong usage in one line', async (t) => {
  const at = await folder(t, ...PODS);
  const args = ['policy', 'check', '--manifests', at, '--from', 'shop/web', '--to', 'shop/db', '--port', '80'];
  const replaced = async (flag: string, value: string): Promise<Answer> =>
    weir(args.map((each, i) => (args[i - 1] === flag ? value : each)));
  const lines = await Promise.all([
    replaced('--from', 'shop/nobody'),
    replaced('--from', 'web'),
    replaced('--port', '80/icmp'),
    replaced('--to', 'fd00::1'),
    weir(args.slice(0, -2)),
  ]);
  t.deepEqual(
    lines.map(({ code, stderr }) => [code, stderr.split(' [WEIR_USAGE]')[0]]),
    [
      [2, 'weir: --from: "shop/nobody" is no pod in these manifests; pods there: shop/api, shop/db, shop/web'],
      [2, 'weir: --from: "web" is neither NAMESPACE/NAME nor an address'],
      [2, 'weir: --port: "80/icmp" is not PORT/tcp, PORT/udp or PORT/sctp'],
      [2, 'weir: --to: "fd00::1" has no address of a family that --from has'],
      [2, 'weir: --port is missing'],
    ],
  );
});

test('a folder with a faulty policy gives no answer', async (t) => {
  const { code, stdout, stderr } = await check(
    t,
    [...PODS, rawPolicy('p', { ingres: [] })],
    'shop/web',
    'shop/db',
    '80',
  );
  t.is(code, 1);
  t.is(stdout, '');
  t.regex(
    stderr,
    /^weir: NetworkPolicy shop\/p: spec\.ingres: is not known here.*\nweir: read .*: 1 fault \[WEIR_INVALID/,
  );
});

test('the matrix shows every way, and the ports of those that are open in part', async (t) => {
  const at = await folder(t, ...PODS, DB);
  const { code, stdout } = await weir(['policy', 'matrix', '--manifests', at, '--addresses', '192.0.2.1']);
  t.is(code, 0);
  t.is(
    stdout,
    `            1 2 3 4
192.0.2.1 1 - . X .
 shop/api 2 . - o .
  shop/db 3 . . - .
 shop/web 4 . . X -

from a row to a column: . everything  o some ports  X nothing  - not asked
shop/api -> shop/db  tcp/5432
`,
  );
});

test('the matrix of one port, and of one namespace', async (t) => {
  const at = await folder(t, ...PODS, DB);
  const args = ['policy', 'matrix', '--manifests', at, '-o', 'json'];
  const { stdout } = await weir([...args, '--port', '5432']);
  const ways = JSON.parse(stdout) as { from: string; to: string; reaches: string }[];
  t.deepEqual(
    ways.filter((way) => way.to === 'shop/db'),
    [
      { from: 'shop/api', to: 'shop/db', reaches: 'everything', ports: 'tcp/5432' },
      { from: 'shop/web', to: 'shop/db', reaches: 'nothing', ports: 'nothing' },
    ] as never,
  );
  t.deepEqual(JSON.parse((await weir([...args, '--namespace', 'other'])).stdout), []);
});

test('a change of policies is told by what it opens and closes', async (t) => {
  const before = await folder(t, ...PODS, DB);
  const after = await folder(t, ...PODS, allow('web', [{ port: 5432 }, { port: 'http' }]));
  const { code, stdout } = await weir(['policy', 'matrix', '--manifests', after, '--against', before]);
  t.is(code, 1);
  t.is(stdout, 'opens   shop/web -> shop/db  tcp/5432, tcp/8080\ncloses  shop/api -> shop/db  tcp/5432\n');
  const same = await weir(['policy', 'matrix', '--manifests', before, '--against', before]);
  t.deepEqual(same, { code: 0, stdout: 'nothing opens or closes\n', stderr: '' });
  const none = await weir(['policy', 'matrix', '--manifests', before, '--against', before, '-o', 'json']);
  t.deepEqual(JSON.parse(none.stdout), []);
});
