import test, { type ExecutionContext } from 'ava';
import { Grid, policy } from './grid.js';
import { specification } from './oracle.js';
import { PATIENCE, type PodShape } from './world.js';

const EVERYTHING = {};
const ingress = (...rules: object[]) => ({ policyTypes: ['Ingress'], ingress: rules });
const egress = (...rules: object[]) => ({ policyTypes: ['Egress'], egress: rules });
const of = (letter: string) => ({ podSelector: { matchLabels: { pod: letter } } });
const pods = (letter: string) => ({ podSelector: { matchLabels: { pod: letter } } });
const within = (ns: string) => ({ namespaceSelector: { matchLabels: { ns } } });
const block = (cidr: string, ...except: string[]) => ({ ipBlock: { cidr, ...(except.length > 0 ? { except } : {}) } });
const tcp = (port: number | string, endPort?: number) => ({ protocol: 'TCP', port, ...(endPort ? { endPort } : {}) });
const udp = (port: number | string) => ({ protocol: 'UDP', port });
const ALL = { podSelector: {} };

interface Step {
  readonly name: string;
  readonly policies: readonly object[];
  readonly before?: (grid: Grid) => void | Promise<void>;
}

const denyAll = policy('x/deny', { ...ALL, ...ingress() });

const STEPS: readonly Step[] = [
  { name: 'no policy', policies: [] },
  { name: 'default deny of ingress', policies: [denyAll] },
  { name: 'allow-all over deny', policies: [denyAll, policy('x/allow', { ...ALL, ...ingress(EVERYTHING) })] },
  {
    name: 'pods of the own namespace, or of a namespace, or both at once',
    policies: [
      policy('x/own', { ...of('a'), ...ingress({ from: [pods('b')] }) }),
      policy('y/or', { ...of('a'), ...ingress({ from: [pods('b'), within('z')] }) }),
      policy('z/and', { ...of('a'), ...ingress({ from: [{ ...pods('b'), ...within('x') }] }) }),
    ],
  },
  {
    name: 'expressions on labels',
    policies: [
      policy('x/expressions', {
        podSelector: { matchExpressions: [{ key: 'pod', operator: 'NotIn', values: ['c'] }] },
        ...ingress({
          from: [{ namespaceSelector: { matchExpressions: [{ key: 'ns', operator: 'In', values: ['y', 'z'] }] } }],
        }),
      }),
    ],
  },
  {
    name: 'ports by number, name and range, one protocol each',
    policies: [
      policy('x/number', { ...of('a'), ...ingress({ ports: [tcp(80)] }) }),
      policy('x/name', { ...of('b'), ...ingress({ ports: [tcp('serve-81-tcp'), udp('serve-80-udp')] }) }),
      policy('x/range', { ...of('c'), ...ingress({ from: [within('y')], ports: [tcp(79, 81)] }) }),
      policy('y/any-port', { ...of('a'), ...ingress({ ports: [{ protocol: 'UDP' }] }) }),
    ],
  },
  {
    name: 'egress, by what the service translates to',
    policies: [
      policy('x/out', { ...of('a'), ...egress({ to: [within('y')], ports: [tcp(80), udp('serve-81-udp')] }) }),
      policy('y/none', { ...of('b'), ...egress() }),
      policy('z/both', { ...of('c'), policyTypes: ['Ingress', 'Egress'], ingress: [EVERYTHING], egress: [EVERYTHING] }),
    ],
  },
  {
    name: 'ingress and egress must both allow',
    policies: [
      policy('x/out', { ...ALL, ...egress({ to: [within('y')] }) }),
      policy('y/in', { ...ALL, ...ingress({ from: [{ ...within('x'), ...pods('a') }, block('10.9.0.0/16')] }) }),
    ],
  },
  {
    name: 'overlapping blocks and exceptions, of pods and of the world',
    policies: [
      policy('x/blocks', {
        ...ALL,
        ...ingress(
          { from: [block('10.244.0.0/16', '10.244.1.0/24'), block('fd00:244::/32', 'fd00:244:1::/48')] },
          { from: [block('10.244.1.0/28')], ports: [tcp(80)] },
        ),
      }),
      policy('y/world', { ...of('a'), ...ingress({ from: [block('0.0.0.0/0', '10.244.0.0/16'), block('::/0')] }) }),
      policy('z/out', { ...of('a'), ...egress({ to: [block('10.244.2.0/24'), block('fd00:244:2::/64')] }) }),
    ],
  },
  {
    name: 'a pod is labelled anew',
    before: (grid) => void (grid.at('y/b').labels = { pod: 'a', late: 'yes' }),
    policies: [policy('x/own', { ...of('a'), ...ingress({ from: [{ ...within('y'), ...pods('a') }] }) })],
  },
  {
    name: 'a namespace is labelled anew',
    before: (grid) => void (grid.namespaceLabels['z'] = { ns: 'y' }),
    policies: [policy('x/own', { ...ALL, ...ingress({ from: [within('y')] }) })],
  },
  {
    name: 'a pod goes, another comes',
    before: async (grid) => {
      grid.at('y/c').gone = true;
      await grid.comes('y/d', 1);
    },
    policies: [policy('x/own', { ...ALL, ...ingress({ from: [within('y')] }) })],
  },
  { name: 'the policies are gone', policies: [] },
];

async function walk(t: ExecutionContext, grid: Grid, steps: readonly Step[]): Promise<void> {
  for (const { name, policies, before } of steps) {
    await before?.(grid);
    await grid.applies(policies);
    const wrong = await grid.differences(specification);
    t.deepEqual(wrong.slice(0, 10), [], `${name}: ${wrong.length} answers differ`);
  }
}

const SHAPES: readonly { readonly shape: PodShape; readonly steps: readonly Step[] }[] = [
  { shape: 'routed', steps: STEPS },
  { shape: 'bridge', steps: STEPS.filter((_, i) => [1, 5, 6, 8].includes(i)) },
];

for (const { shape, steps } of SHAPES) {
  test(`what the sockets see is what the specification says, at every step: ${shape} pods`, async (t) => {
    t.timeout(300_000 * PATIENCE);
    await using grid = await Grid.open({ shape, dropInvalid: true });
    await walk(t, grid, steps);
  });
}

test('the proxy can be off while policy is in force, and policy while services are', async (t) => {
  await using grid = await Grid.open({ flags: ['--run-firewall=false'] });
  await grid.applies([denyAll]);
  t.deepEqual((await grid.differences(() => true)).slice(0, 5), [], 'without the firewall all is open');
});

test('a policy that comes cuts the connections it forbids, and no other', async (t) => {
  await using grid = await Grid.open();
  const [from, to, other] = [grid.at('y/a').pod, grid.at('x/b').pod, grid.at('z/b').pod];
  const cut = await from.inhabitant.holds(to.v4, 80);
  const kept = await from.inhabitant.holds(other.v4, 80);
  const allowed = await other.inhabitant.holds(to.v6, 81);
  await grid.applies([policy('x/in', { ...ALL, ...ingress({ from: [within('z')] }) })]);
  t.regex(await from.inhabitant.fails(from.inhabitant.speaks(cut.id)), /timeout|closed|ECONNRESET/);
  t.is((await from.inhabitant.speaks(kept.id)).who, 'zb');
  t.is((await other.inhabitant.speaks(allowed.id)).who, 'xb');
});

test('with --keep-established connections outlive the policy that forbids them', async (t) => {
  await using grid = await Grid.open({ flags: ['--keep-established'] });
  const [from, to] = [grid.at('y/a').pod, grid.at('x/b').pod];
  /* recorded, because the receiver is isolated already */
  await grid.applies([policy('x/in', { ...ALL, ...ingress({ from: [within('y')] }) })]);
  const held = await from.inhabitant.holds(to.v4, 80);
  await grid.applies([denyAll]);
  t.is((await from.inhabitant.speaks(held.id)).who, 'xb');
  t.deepEqual(await from.inhabitant.finds([{ host: to.v4, port: 80, protocol: 'tcp' }], 600), ['silent']);
});

test('denied traffic is answered where that is asked for', async (t) => {
  await using grid = await Grid.open({ flags: ['--deny-action', 'reject'] });
  const [from, to] = [grid.at('y/a').pod, grid.at('x/a').pod];
  const probes = (['tcp', 'udp'] as const).flatMap((protocol) =>
    [to.v4, to.v6].map((host) => ({ host, port: 80, protocol })),
  );
  await grid.applies([denyAll]);
  t.deepEqual(await from.inhabitant.finds(probes, 2000), Array(4).fill('refused'), 'ingress');
  await grid.applies([policy('y/out', { ...ALL, ...egress() })]);
  t.deepEqual(await from.inhabitant.finds(probes, 2000), Array(4).fill('refused'), 'egress');
  const quiet = policy('y/out', { ...ALL, ...egress() }, { 'weir.io/deny-action': 'drop' });
  await grid.applies([quiet]);
  t.deepEqual(await from.inhabitant.finds(probes, 600), Array(4).fill('silent'), 'by annotation');
});

test('the node reaches its own pods whatever their policies, and pods reach themselves', async (t) => {
  await using grid = await Grid.open({ shape: 'bridge' });
  const own = grid.at('x/a').pod;
  const host = await grid.world.inhabit('host', own.node.space);
  await grid.applies([denyAll, policy('x/out', { ...ALL, ...egress() })]);
  const probes = [own.v4, own.v6].map((address) => ({ host: address, port: 80, protocol: 'tcp' as const }));
  t.deepEqual(await host.finds(probes, 2000), ['open', 'open'], 'from the node');
  t.deepEqual(await own.inhabitant.finds(probes, 2000), ['open', 'open'], 'from itself');
});

test('an audited policy denies nothing and reports what it would deny', async (t) => {
  await using grid = await Grid.open();
  const [from, to] = [grid.at('y/a').pod, grid.at('x/a').pod];
  await grid.applies([policy('x/deny', { ...ALL, ...ingress() }, { 'weir.io/mode': 'audit' })]);
  t.is((await from.inhabitant.gets(to.v4, 80)).who, 'xa');
  const audited = to.node
    .weir<{ reason: string; source: string; pod: string }[]>('drops')
    .filter(({ reason }) => reason === 'audited');
  t.true(
    audited.some(({ source, pod }) => source === from.v4 && pod === 'x/a'),
    JSON.stringify(audited),
  );
});

test('drops name the pod, its peer, the isolating policies and the nearest rule', async (t) => {
  await using grid = await Grid.open();
  const [from, to] = [grid.at('y/a').pod, grid.at('x/a').pod];
  await grid.applies([denyAll, policy('x/web', { ...of('a'), ...ingress({ from: [within('y')], ports: [tcp(80)] }) })]);
  await from.inhabitant.finds([{ host: to.v4, port: 81, protocol: 'tcp' }], 300);
  const [drop] = to.node
    .weir<Record<string, unknown>[]>('drops')
    .filter(({ reason, source }) => reason === 'policy-ingress' && source === from.v4);
  t.is(drop?.['pod'], 'x/a');
  t.is(drop?.['direction'], 'ingress');
  t.deepEqual(drop?.['policies'], ['x/deny', 'x/web']);
  t.is(drop?.['port'], 81);
  const text = to.node.run(to.node.weirCommand, 'drops', '--bpf-root', to.node.bpfRoot);
  t.regex(text, /y\/a/, 'the peer by name');
  t.regex(text, /x\/web ingress\[0\] allows tcp\/80, not 81/, 'the nearest rule');
  t.is(drop?.['peer'], 'y/a');
  await grid.agents[0]?.kill('SIGKILL');
  const inForce = to.node.weir<{ name: string; pods: string[] }[]>('policy', 'list');
  t.deepEqual(
    inForce.map(({ name }) => name),
    ['deny', 'web'],
    'without an agent',
  );
  const [isolated] = to.node
    .weir<{ address: string; device: string; ingress: { policies: string[] } }[]>('endpoint', 'list')
    .filter(({ address }) => address === to.v4);
  t.deepEqual(isolated?.ingress.policies, ['x/deny', 'x/web']);
  t.not(isolated?.device, '');
});

test('nobody talks past policy: an added address, a link-local one, a neighbour’s', async (t) => {
  await using grid = await Grid.open({ shape: 'bridge' });
  const [from, to, neighbour] = [grid.at('x/c').pod, grid.at('x/a').pod, grid.at('y/b').pod];
  t.is(from.node, to.node, 'on one bridge');
  await grid.applies([policy('x/in', { ...of('a'), ...ingress({ from: [within('y')] }) })]);
  const open = (localAddress: string, host: string) =>
    from.inhabitant.fails(from.inhabitant.gets(host, 80, { localAddress, timeout: 800 }));
  from.inhabitant.ip('addr add 10.244.1.200/24 dev eth0', `addr add ${neighbour.v4}/32 dev eth0`);
  t.regex(await open('10.244.1.200', to.v4), /timeout/, 'an address that it gave itself');
  t.regex(await open(neighbour.v4, to.v4), /timeout/, 'the address of a pod that may');
  const linkLocal = /inet6 (fe80:[^/]+)/.exec(
    grid.nodes[0].run('ip', 'netns', 'exec', to.inhabitant.space, 'ip', '-6', 'addr', 'show', 'dev', 'eth0'),
  );
  t.truthy(linkLocal);
  t.regex(await from.inhabitant.fails(from.inhabitant.gets(`${linkLocal?.[1]}%eth0`, 80, { timeout: 800 })), /timeout/);
});
