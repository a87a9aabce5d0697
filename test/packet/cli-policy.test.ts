import test, { type ExecutionContext } from 'ava';
import type { DropRow } from '../../src/cli/drops.js';
import type { EndpointRow } from '../../src/cli/endpoint.js';
import type { PolicyRow } from '../../src/cli/policy-list.js';
import type { Target } from '../../src/core/policy/transition.js';
import { KernelTables } from '../../src/maps/kernel-tables.js';
import { HOOK, MAPS, REASON } from '../../src/maps/layout.js';
import { NodeTables } from '../../src/maps/node.js';
import { PodNames } from '../../src/maps/pod-names.js';
import { PolicyTables } from '../../src/maps/policy.js';
import { openTable } from '../../src/maps/table.js';
import { weir } from '../unit/cli-context.js';
import { givenServices, ip } from './cli-world.js';

const POD = ip('10.244.1.5');
const OTHER_POD = ip('10.244.1.7');
const REMOTE = ip('10.244.2.9');
const rule = (policy: string, index = 0) => `NetworkPolicy ${policy} ingress[${index}]`;

/** shop/web is isolated by two policies, shop/db by one that denies all it opens and one that is audited. */
const TARGET: Target = {
  classes: new Map([
    ['10.244.2.9/32', 'api'],
    ['10.244.2.6/32', 'job'],
  ]),
  sets: new Map([
    [
      'web',
      {
        direction: 'ingress',
        policies: ['shop/deny', 'shop/web'],
        action: 'reject',
        entries: [
          { class: 'api', protocol: 'TCP', port: 80, bits: 16, rule: rule('shop/web') },
          { class: 'job', protocol: 'TCP', port: 90, bits: 15, rule: rule('shop/web', 1) },
        ],
      },
    ],
    ['db', { direction: 'egress', policies: ['shop/db'], action: 'drop', entries: [] }],
    [
      'trial',
      {
        direction: 'ingress',
        policies: ['shop/trial'],
        action: 'drop',
        entries: [{ class: '', protocol: 'any', port: 0, bits: 0, rule: rule('shop/trial') }],
      },
    ],
  ]),
  subjects: new Map([
    [POD, { pod: 'shop/web', ingress: 'web' }],
    [OTHER_POD, { pod: 'shop/db', egress: 'db', auditIngress: 'trial' }],
  ]),
};

function givenPolicies(t: ExecutionContext): string {
  const root = givenServices(t);
  using tables = new KernelTables(root);
  const policy = new PolicyTables(tables, () => 0);
  const node = { uplinks: [], pods: [], bridges: [], xdp: new Set<number>(), bindings: new Map() };
  const endpoints = (): Map<never, never> =>
    new Map([...policy.endpoints()].map(([address, each]) => [address, { host: false, policy: each }])) as never;
  policy.sync(TARGET, [], {
    syncEndpoints: () =>
      new NodeTables(tables).sync({ ...node, endpoints: endpoints(), sources: undefined, cluster: undefined }),
    nextEpoch: () => undefined,
  });
  using names = new PodNames(root);
  names.follow(
    new Map([
      [POD, 'shop/web'],
      [OTHER_POD, 'shop/db'],
      [REMOTE, 'shop/api'],
    ]),
  );
  return root;
}

async function asked<T>(root: string, ...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await weir([...args, '-o', 'json', '--bpf-root', root]);
  if (code !== 0) throw new Error(`weir ${args.join(' ')} exits ${code}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

interface Denied {
  readonly from?: string;
  readonly to?: string;
  readonly port: number;
  readonly protocol?: number;
  readonly reason?: number;
  /** Of the policies that denied it. */
  readonly by?: string;
}

function writeDrop(root: string, denied: Denied, last: bigint): void {
  const { from = REMOTE, to = POD, port, protocol = 6, reason = REASON.POLICY_INGRESS } = denied;
  const { by = 'Policies shop/deny,shop/web ingress' } = denied;
  using names = openTable(root, MAPS.weir_names);
  const [id] = [...names.entries()].find(([, { text }]) => text === by) ?? [0];
  using drops = openTable(root, MAPS.weir_drops);
  const hook = reason === REASON.POLICY_EGRESS ? HOOK.POD_IN : HOOK.POD_OUT;
  const key = { source: ip(from), destination: ip(to), port, protocol, reason, hook };
  drops.set(key, { count: 1n, first: 0n, last, ifindex: 2, rule: id });
}

test('a denied packet is told with its pod, its peer, the policies and the rule that comes closest', async (t) => {
  const root = givenPolicies(t);
  const asks: readonly [Denied, peer: string, nearest: string | undefined][] = [
    [{ port: 81 }, 'shop/api', 'shop/web ingress[0] allows tcp/80, not 81'],
    [{ port: 80, protocol: 17 }, 'shop/api', 'shop/web ingress[0] allows tcp/80, not udp/80'],
    [{ from: '192.0.2.1', port: 80 }, '', 'shop/web ingress[0] allows tcp/80 from other peers'],
    [{ from: '10.96.0.10', port: 91 }, 'Service shop/web', 'shop/web ingress[1] allows tcp/90-91 from other peers'],
    [{ from: '10.244.2.6', port: 7 }, 'backend of shop/web', 'shop/web ingress[1] allows tcp/90-91, not 7'],
    [{ port: 80 }, 'shop/api', 'shop/web ingress[0] allows it now'],
    [{ port: 81, by: 'Policies shop/gone ingress' }, 'shop/api', undefined],
    [
      {
        from: OTHER_POD,
        to: REMOTE,
        port: 443,
        reason: REASON.POLICY_EGRESS,
        by: 'Policies shop/db egress',
      },
      'shop/api',
      undefined,
    ],
  ];
  for (const [index, [denied, peer, nearest]] of asks.entries()) {
    writeDrop(root, denied, BigInt(index + 1));
    const row = (await asked<DropRow[]>(root, 'drops')).at(-1);
    const message = JSON.stringify(row);
    t.is(row?.peer, peer, message);
    t.is(row?.pod, denied.from === OTHER_POD ? 'shop/db' : 'shop/web', message);
    t.is(row?.nearest ? [row.nearest.rule, ...row.nearest.lacks].join(' ') : undefined, nearest, message);
  }
});

test('the text of drops names both ends and the nearest rule', async (t) => {
  const root = givenPolicies(t);
  writeDrop(root, { port: 81 }, 1n);
  const { stdout } = await weir(['drops', '--bpf-root', root]);
  t.regex(
    stdout,
    / {2}10\.244\.2\.9 \(shop\/api\) {2}10\.244\.1\.5:81 \(shop\/web\) {2}shop\/deny,shop\/web; nearest: shop\/web ingress\[0\] allows tcp\/80, not 81$/m,
  );
});

test('endpoints are listed with what isolates them and what their rules allow', async (t) => {
  const root = givenPolicies(t);
  const common = { device: '', ingress: null, egress: null, auditIngress: null, auditEgress: null };
  const trial = { rule: 'shop/trial ingress[0]', anyone: true, ports: 'everything' };
  t.deepEqual(await asked<EndpointRow[]>(root, 'endpoint', 'list'), [
    {
      ...common,
      ...{ pod: 'shop/db', address: OTHER_POD },
      egress: { policies: ['shop/db'], action: 'drop', rules: [] },
      auditIngress: { policies: ['shop/trial'], action: 'drop', rules: [trial] },
    },
    {
      ...common,
      ...{ pod: 'shop/web', address: POD },
      ingress: {
        policies: ['shop/deny', 'shop/web'],
        action: 'reject',
        rules: [
          { rule: 'shop/web ingress[0]', anyone: false, ports: 'tcp/80' },
          { rule: 'shop/web ingress[1]', anyone: false, ports: 'tcp/90-91' },
        ],
      },
    },
  ]);
  const { stdout } = await weir(['endpoint', 'list', '--bpf-root', root]);
  t.is(
    stdout,
    `shop/db 10.244.1.7 -
  ingress: not isolated
  egress: isolated by shop/db (drop)
    nothing is allowed
  audited ingress: isolated by shop/trial (drop)
    shop/trial ingress[0] allows everything for everybody
shop/web 10.244.1.5 -
  ingress: isolated by shop/deny,shop/web (reject)
    shop/web ingress[0] allows tcp/80 for its peers
    shop/web ingress[1] allows tcp/90-91 for its peers
  egress: not isolated
`,
  );
});

test('policies are listed with their mode, their directions and the pods that they isolate', async (t) => {
  const root = givenPolicies(t);
  const row = (name: string, mode: PolicyRow['mode'], direction: 'ingress' | 'egress', pod: string): PolicyRow => ({
    ...{ namespace: 'shop', name, mode },
    directions: [direction],
    pods: [pod],
  });
  t.deepEqual(await asked<PolicyRow[]>(root, 'policy', 'list'), [
    row('db', 'enforce', 'egress', 'shop/db'),
    row('deny', 'enforce', 'ingress', 'shop/web'),
    row('trial', 'audit', 'ingress', 'shop/db'),
    row('web', 'enforce', 'ingress', 'shop/web'),
  ]);
  const { stdout } = await weir(['policy', 'list', '--bpf-root', root]);
  t.regex(stdout, /^shop\/trial +audit +ingress +shop\/db$/m);
});

test('names of pods follow the cluster and outlive the agent', (t) => {
  const root = givenPolicies(t);
  using names = new PodNames(root);
  names.follow(
    new Map([
      [POD, 'shop/web'],
      [REMOTE, 'shop/late'],
    ]),
  );
  using table = openTable(root, MAPS.weir_pods);
  const held = [...table.entries()].map(([address, { text }]) => `${address} ${text}`);
  t.deepEqual(held.sort(), ['10.244.1.5 shop/web', '10.244.2.9 shop/late']);
});
