import test from 'ava';
import type { Namespace, NetworkPolicy, Pod, Problem } from '../../src/core/model.js';
import { parseResource, type Parsed } from '../../src/core/objects.js';
import { selectorText } from '../../src/core/policy/selector.js';
import { rawNamespace, rawPod, rawPolicy } from '../helpers/samples.js';

function resourceOf<K extends 'Pod' | 'Namespace' | 'NetworkPolicy'>(
  kind: K,
  raw: unknown,
): K extends 'Pod' ? Pod : K extends 'Namespace' ? Namespace : NetworkPolicy {
  const parsed = parseResource(raw);
  if (parsed.kind !== 'resource' || parsed.resource.kind !== kind) throw new Error(JSON.stringify(parsed));
  return parsed.resource as never;
}

const policyOf = (spec: Record<string, unknown>): NetworkPolicy => resourceOf('NetworkPolicy', rawPolicy('p', spec));
const problemsOf = (parsed: Parsed): readonly Problem[] => (parsed.kind === 'ignored' ? [] : parsed.problems);

test('of a Pod only what policy asks for is kept', (t) => {
  const container = (name: string, ports: unknown[]): object => ({ name, image: 'x', ports });
  const pod = resourceOf(
    'Pod',
    rawPod('web', '10.1.0.1', {
      metadata: { name: 'web', namespace: 'shop', labels: { tier: 'a', app: 'web' }, annotations: { long: 'text' } },
      spec: {
        nodeName: 'node-1',
        containers: [
          container('main', [{ name: 'http', containerPort: 8080, hostPort: 80 }, { containerPort: 9 }]),
          container('dns', [{ name: 'dns', containerPort: 53, protocol: 'UDP' }]),
        ],
        initContainers: [
          { restartPolicy: 'Always', ports: [{ name: 'side', containerPort: 1 }] },
          { ports: [{ name: 'once', containerPort: 2 }] },
        ],
      },
      status: { phase: 'Running', podIP: '10.1.0.1', podIPs: [{ ip: '10.1.0.1' }, { ip: 'FD00::1' }] },
    }),
  );
  t.deepEqual(
    { ...pod, labels: { ...pod.labels }, addresses: [...pod.addresses], ports: [...pod.ports] },
    {
      kind: 'Pod',
      namespace: 'shop',
      name: 'web',
      created: 0,
      labels: { app: 'web', tier: 'a' },
      addresses: ['10.1.0.1', 'fd00::1'] as never,
      ports: [
        { name: 'http', protocol: 'TCP', port: 8080 },
        { name: 'dns', protocol: 'UDP', port: 53 },
        { name: 'side', protocol: 'TCP', port: 1 },
      ],
      finished: false,
      hostNetwork: false,
      nodeName: 'node-1',
    },
  );
});

test('pods that are alike share their labels and ports', (t) => {
  const [a, b] = ['10.1.0.1', '10.1.0.2'].map((address) => resourceOf('Pod', rawPod('web', address)));
  t.is(a?.labels, b?.labels);
  t.is(a?.ports, b?.ports);
  const other = { name: 'web', namespace: 'shop', labels: { app: 'api' } };
  t.not(resourceOf('Pod', rawPod('web', '10.1.0.1', { metadata: other })).labels, a?.labels);
});

for (const [phase, finished] of [
  ['Pending', false],
  ['Running', false],
  ['Succeeded', true],
  ['Failed', true],
] as const) {
  test(`a pod in phase ${phase} is ${finished ? '' : 'not '}finished`, (t) => {
    t.is(resourceOf('Pod', rawPod('web', '', { status: { phase, podIP: '' } })).finished, finished);
  });
}

test('a pod without address, on the network of its host, is one all the same', (t) => {
  const pod = resourceOf('Pod', rawPod('web', '', { status: {}, spec: { hostNetwork: true } }));
  t.like(pod, { hostNetwork: true, nodeName: '', addresses: [], ports: [] });
});

test('a Namespace always has the label of its name', (t) => {
  t.deepEqual(resourceOf('Namespace', rawNamespace('shop', { team: 'a' })).labels, {
    team: 'a',
    'kubernetes.io/metadata.name': 'shop',
  });
  t.deepEqual(resourceOf('Namespace', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'x' } }).labels, {
    'kubernetes.io/metadata.name': 'x',
  });
});

test('the deny action of a namespace and of a policy is what their annotation says', (t) => {
  const annotation = { 'weir.io/deny-action': 'reject' };
  t.is(resourceOf('Namespace', rawNamespace('shop', {}, annotation)).denyAction, 'reject');
  t.is(resourceOf('NetworkPolicy', rawPolicy('p', {}, annotation)).denyAction, 'reject');
  t.false('denyAction' in resourceOf('Namespace', rawNamespace('shop')));
});

test('an annotation that is not understood is a problem, and the policy is enforced without it', (t) => {
  const parsed = parseResource(rawPolicy('p', {}, { 'weir.io/deny-action': 'refuse', 'weir.io/mode': 'dry-run' }));
  t.is(parsed.kind, 'resource');
  t.deepEqual(
    problemsOf(parsed).map(({ field, message }) => `${field} ${message}`),
    [
      'metadata.annotations["weir.io/mode"] must be enforce or audit, got "dry-run"',
      'metadata.annotations["weir.io/deny-action"] must be drop or reject, got "refuse"',
    ],
  );
  const policy = parsed.kind === 'resource' && parsed.resource;
  t.like(policy, { mode: 'enforce' });
  t.false(policy && 'denyAction' in policy);
});

test('a policy can be audited', (t) => {
  t.is(resourceOf('NetworkPolicy', rawPolicy('p', {}, { 'weir.io/mode': 'audit' })).mode, 'audit');
  t.is(policyOf({}).mode, 'enforce');
});

const types: readonly { name: string; spec: Record<string, unknown>; isolates: readonly string[] }[] = [
  { name: 'nothing but a selector', spec: {}, isolates: ['ingress'] },
  { name: 'an empty list of egress rules', spec: { egress: [] }, isolates: ['ingress'] },
  { name: 'an egress rule', spec: { egress: [{}] }, isolates: ['ingress', 'egress'] },
  { name: 'policyTypes Egress and no rule', spec: { policyTypes: ['Egress'] }, isolates: ['egress'] },
  {
    name: 'policyTypes Egress and an ingress rule',
    spec: { policyTypes: ['Egress'], ingress: [{}] },
    isolates: ['egress'],
  },
  { name: 'both policyTypes', spec: { policyTypes: ['Ingress', 'Egress'] }, isolates: ['ingress', 'egress'] },
  { name: 'an empty list of policyTypes', spec: { policyTypes: [], egress: [{}] }, isolates: ['ingress', 'egress'] },
];
for (const { name, spec, isolates } of types) {
  test(`a policy with ${name} isolates ${isolates.join(' and ')}`, (t) => {
    const policy = policyOf(spec);
    t.deepEqual(
      (['ingress', 'egress'] as const).filter((direction) => policy[direction] !== undefined),
      [...isolates] as never,
    );
  });
}

test('a selector is read in one order, whatever the order in which it is written', (t) => {
  const expression = (operator: string, values?: string[]): object => ({ key: 'tier', operator, values });
  const policy = policyOf({
    podSelector: {
      matchExpressions: [
        expression('NotIn', ['b', 'a']),
        expression('Exists'),
        { key: 'debug', operator: 'DoesNotExist' },
      ],
      matchLabels: { app: 'web' },
    },
  });
  t.is(selectorText(policy.podSelector), 'app=web,!debug,tier,tier notin (a,b)');
  const turned = policyOf({
    podSelector: {
      matchLabels: { app: 'web' },
      matchExpressions: [
        { key: 'debug', operator: 'DoesNotExist' },
        expression('Exists'),
        expression('NotIn', ['a', 'b', 'a']),
      ],
    },
  });
  t.deepEqual(turned.podSelector, policy.podSelector);
});

test('an absent selector in a peer is not an empty one', (t) => {
  const policy = policyOf({
    ingress: [
      {
        from: [{ podSelector: {} }, { namespaceSelector: {} }, { namespaceSelector: {}, podSelector: {} }],
        ports: null,
      },
    ],
  });
  t.deepEqual(policy.ingress, [
    {
      peers: [
        { kind: 'pods', pods: [] },
        { kind: 'pods', namespaces: [] },
        { kind: 'pods', namespaces: [], pods: [] },
      ],
      ports: [],
    },
  ]);
});

test('blocks and ports are read as they are meant', (t) => {
  const policy = policyOf({
    egress: [
      {
        to: [{ ipBlock: { cidr: '10.1.2.3/8', except: ['10.1.0.0/16'] } }, { ipBlock: { cidr: '::/0' } }],
        ports: [{ port: 80 }, { port: 'http', protocol: 'UDP' }, { protocol: 'SCTP' }, { port: 1, endPort: 9 }, {}],
      },
    ],
  });
  t.deepEqual(policy.egress as unknown, [
    {
      peers: [
        { kind: 'block', cidr: { address: '10.0.0.0', bits: 8 }, except: [{ address: '10.1.0.0', bits: 16 }] },
        { kind: 'block', cidr: { address: '::', bits: 0 }, except: [] },
      ],
      ports: [
        { protocol: 'TCP', range: [80, 80] },
        { protocol: 'UDP', name: 'http' },
        { protocol: 'SCTP' },
        { protocol: 'TCP', range: [1, 9] },
        { protocol: 'TCP' },
      ],
    },
  ]);
});

const from = (peer: unknown): Record<string, unknown> => ({ ingress: [{ from: [peer] }] });
const port = (entry: unknown): Record<string, unknown> => ({ ingress: [{ ports: [entry] }] });
const block = (fields: object): Record<string, unknown> => from({ ipBlock: { cidr: '10.0.0.0/8', ...fields } });
const select = (expression: object): Record<string, unknown> => ({ podSelector: { matchExpressions: [expression] } });
const PEER = 'spec.ingress[0].from[0]';
const PORT = 'spec.ingress[0].ports[0]';
const EXPRESSION = 'spec.podSelector.matchExpressions[0]';

const faulty: readonly { name: string; spec: Record<string, unknown>; field: string; message: RegExp }[] = [
  { name: 'a peer that says nothing', spec: from({}), field: PEER, message: /leave out the list to match everything/ },
  { name: 'a peer that is null', spec: from(null), field: PEER, message: /got nothing/ },
  {
    name: 'a block beside a selector',
    spec: from({ ipBlock: { cidr: '10.0.0.0/8' }, podSelector: {} }),
    field: `${PEER}.ipBlock`,
    message: /make two peers/,
  },
  { name: 'a block without range', spec: from({ ipBlock: {} }), field: `${PEER}.ipBlock.cidr`, message: /got nothing/ },
  {
    name: 'a bare address',
    spec: block({ cidr: '10.0.0.1' }),
    field: `${PEER}.ipBlock.cidr`,
    message: /got "10.0.0.1"/,
  },
  {
    name: 'an except outside',
    spec: block({ except: ['11.0.0.0/16'] }),
    field: `${PEER}.ipBlock.except[0]`,
    message: /a smaller range inside cidr 10.0.0.0\/8, got "11.0.0.0\/16"/,
  },
  {
    name: 'an except that is the whole block',
    spec: block({ except: ['10.0.0.0/8'] }),
    field: `${PEER}.ipBlock.except[0]`,
    message: /smaller range/,
  },
  {
    name: 'an except of the other family',
    spec: block({ cidr: '::/0', except: ['10.0.0.0/8'] }),
    field: `${PEER}.ipBlock.except[0]`,
    message: /smaller range/,
  },
  { name: 'port 0', spec: port({ port: 0 }), field: `${PORT}.port`, message: /from 1 to 65535, got 0/ },
  { name: 'a port in quotes', spec: port({ port: '80' }), field: `${PORT}.port`, message: /without quotes.*got "80"/ },
  {
    name: 'a range by name',
    spec: port({ port: 'http', endPort: 9 }),
    field: `${PORT}.endPort`,
    message: /needs a port that is a number/,
  },
  { name: 'a range from nowhere', spec: port({ endPort: 9 }), field: `${PORT}.endPort`, message: /needs a port/ },
  {
    name: 'a range backwards',
    spec: port({ port: 9, endPort: 8 }),
    field: `${PORT}.endPort`,
    message: /at least port, which is 9, got 8/,
  },
  {
    name: 'an unknown protocol',
    spec: port({ protocol: 'ICMP' }),
    field: `${PORT}.protocol`,
    message: /TCP, UDP or SCTP/,
  },
  {
    name: 'an unknown type',
    spec: { policyTypes: ['ingress'] },
    field: 'spec.policyTypes[0]',
    message: /Ingress or Egress/,
  },
  {
    name: 'an operator that is none',
    spec: select({ key: 'a', operator: 'Equals', values: ['b'] }),
    field: `${EXPRESSION}.operator`,
    message: /In, NotIn, Exists or DoesNotExist, got "Equals"/,
  },
  {
    name: 'In without values',
    spec: select({ key: 'a', operator: 'In' }),
    field: `${EXPRESSION}.values`,
    message: /at least one value/,
  },
  {
    name: 'Exists with values',
    spec: select({ key: 'a', operator: 'Exists', values: ['b'] }),
    field: `${EXPRESSION}.values`,
    message: /must be absent/,
  },
  {
    name: 'an expression without key',
    spec: select({ operator: 'Exists' }),
    field: `${EXPRESSION}.key`,
    message: /key of a label/,
  },
  {
    name: 'labels beside matchLabels',
    spec: { podSelector: { app: 'web' } },
    field: 'spec.podSelector.app',
    message: /labels belong below matchLabels/,
  },
  {
    name: 'a label that is no text',
    spec: { podSelector: { matchLabels: { on: true } } },
    field: 'spec.podSelector.matchLabels["on"]',
    message: /put it in quotes/,
  },
];
for (const { name, spec, field, message } of faulty) {
  test(`a policy with ${name} is refused by field and value`, (t) => {
    const parsed = parseResource(rawPolicy('p', spec));
    t.is(parsed.kind, 'invalid');
    t.is(problemsOf(parsed)[0]?.field, field);
    t.is(problemsOf(parsed)[0]?.object, 'NetworkPolicy shop/p');
    t.regex(problemsOf(parsed)[0]?.message ?? '', message);
  });
}

test('a policy without spec is refused', (t) => {
  const parsed = parseResource({ ...rawPolicy('p', {}), spec: undefined });
  t.like(problemsOf(parsed)[0], { field: 'spec', message: 'must be an object, got nothing' });
});

test('a misspelt field is a problem, because without it the policy says something else', (t) => {
  const parsed = parseResource(rawPolicy('p', { ingres: [{}], ingress: [{ form: [], ports: [{ ports: 80 }] }] }));
  t.is(parsed.kind, 'resource');
  t.deepEqual(
    problemsOf(parsed).map(({ field }) => field),
    ['spec.ingres', 'spec.ingress[0].form', 'spec.ingress[0].ports[0].ports'],
  );
});
