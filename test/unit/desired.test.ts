import test from 'ava';
import {
  compileService,
  type DesiredBackend,
  type DesiredFrontend,
  type DesiredService,
  type Settings,
} from '../../src/core/desired.js';
import type { EndpointSlice, Service } from '../../src/core/model.js';
import { endpoint, HTTP, ips, service, settings, slice } from '../helpers/model.js';

const NODE_PORT = { ...HTTP, nodePort: 30080 };
const LOCAL4 = endpoint('10.1.0.1', { nodeName: 'node-1' });
const REMOTE4 = endpoint('10.1.0.2');
const LOCAL6 = endpoint('2001:db8:1::1', { nodeName: 'node-1' });
const REMOTE6 = endpoint('2001:db8:1::2');
const BOTH = [slice('web', [LOCAL4, REMOTE4]), slice('web', [LOCAL6, REMOTE6], { name: 'web-6' })];

function compile(
  fields: Partial<Service>,
  slices: readonly EndpointSlice[] = BOTH,
  change: Partial<Settings> = {},
): DesiredService {
  return compileService(service('web', fields), slices, settings(change));
}

function frontends(desired: DesiredService): DesiredFrontend[] {
  return desired.ports.flatMap((port) => port.frontends);
}

/** `Kind address:port/protocol` of each. */
function names(desired: DesiredService): string[] {
  return frontends(desired).map(({ kind, address, port, protocol }) => `${kind} ${address} ${port}/${protocol}`);
}

const addresses = (list: readonly { readonly address: string }[]): string[] => list.map(({ address }) => address);

const KINDS = [
  { name: 'a ClusterIP', fields: { clusterIps: ips('10.96.0.1') }, frontends: ['ClusterIP 10.96.0.1 80/TCP'] },
  { name: 'a ClusterIP of IPv6', fields: { clusterIps: ips('fd00::1') }, frontends: ['ClusterIP fd00::1 80/TCP'] },
  {
    name: 'ClusterIPs of both families',
    fields: { clusterIps: ips('fd00::1', '10.96.0.1') },
    frontends: ['ClusterIP 10.96.0.1 80/TCP', 'ClusterIP fd00::1 80/TCP'],
  },
  {
    name: 'external addresses',
    fields: { externalIps: ips('198.51.100.1', '198.51.100.2', '2001:db8:f::1') },
    frontends: ['ExternalIP 198.51.100.1 80/TCP', 'ExternalIP 198.51.100.2 80/TCP', 'ExternalIP 2001:db8:f::1 80/TCP'],
  },
  {
    name: 'load balancer addresses',
    fields: { loadBalancerIps: ips('198.51.100.1', '2001:db8:f::1') },
    frontends: ['LoadBalancer 198.51.100.1 80/TCP', 'LoadBalancer 2001:db8:f::1 80/TCP'],
  },
  {
    name: 'a node port, at every address of the node that serves them',
    fields: { ports: [NODE_PORT] },
    frontends: ['NodePort 192.0.2.1 30080/TCP', 'NodePort 2001:db8::1 30080/TCP'],
  },
  {
    name: 'everything at once',
    fields: {
      clusterIps: ips('10.96.0.1'),
      externalIps: ips('198.51.100.1'),
      loadBalancerIps: ips('198.51.100.2'),
      ports: [NODE_PORT],
    },
    frontends: [
      'ClusterIP 10.96.0.1 80/TCP',
      'ExternalIP 198.51.100.1 80/TCP',
      'LoadBalancer 198.51.100.2 80/TCP',
      'NodePort 192.0.2.1 30080/TCP',
      'NodePort 2001:db8::1 30080/TCP',
    ],
  },
  {
    name: 'an address that is external and of the load balancer, once',
    fields: { externalIps: ips('198.51.100.1'), loadBalancerIps: ips('198.51.100.1') },
    frontends: ['ExternalIP 198.51.100.1 80/TCP'],
  },
  {
    name: 'the same number for TCP and UDP',
    fields: {
      clusterIps: ips('10.96.0.1'),
      ports: [
        { ...HTTP, name: 'a' },
        { ...HTTP, name: 'b', protocol: 'UDP' as const },
      ],
    },
    frontends: ['ClusterIP 10.96.0.1 80/TCP', 'ClusterIP 10.96.0.1 80/UDP'],
  },
  {
    name: 'SCTP',
    fields: { clusterIps: ips('10.96.0.1'), ports: [{ ...HTTP, protocol: 'SCTP' as const }] },
    frontends: ['ClusterIP 10.96.0.1 80/SCTP'],
  },
  { name: 'no address at all', fields: {}, frontends: [] },
];

for (const { name, fields, frontends: expected } of KINDS) {
  test(`what a service is served at: ${name}`, (t) => t.deepEqual(names(compile(fields)), expected));
}

test('a family has the endpoints of its own addresses, though the service has both', (t) => {
  const [v4, v6] = frontends(compile({ clusterIps: ips('10.96.0.1', 'fd00::1') }));
  t.deepEqual(addresses(v4?.outside ?? []), ['10.1.0.1', '10.1.0.2']);
  t.deepEqual(addresses(v6?.outside ?? []), ['2001:db8:1::1', '2001:db8:1::2']);
});

test('a family without endpoints refuses, though the other has some', (t) => {
  const [v4, v6] = frontends(compile({ clusterIps: ips('10.96.0.1', 'fd00::1') }, [slice('web', [REMOTE4])]));
  t.is(v4?.exists, true);
  t.is(v6?.exists, false);
});

test('only families that the service is served in have backends', (t) => {
  const [port] = compile({ clusterIps: ips('fd00::1') }).ports;
  t.deepEqual(addresses(port?.backends ?? []), ['2001:db8:1::1', '2001:db8:1::2']);
});

const ALL = ['10.1.0.1', '10.1.0.2'];
const OWN = ['10.1.0.1'];
const POLICIES = [
  { kind: 'ClusterIP', internal: 'Cluster', external: 'Cluster', outside: ALL, inside: ALL },
  { kind: 'ClusterIP', internal: 'Cluster', external: 'Local', outside: ALL, inside: ALL },
  { kind: 'ClusterIP', internal: 'Local', external: 'Cluster', outside: OWN, inside: OWN },
  { kind: 'ExternalIP', internal: 'Cluster', external: 'Cluster', outside: ALL, inside: ALL },
  { kind: 'ExternalIP', internal: 'Local', external: 'Cluster', outside: ALL, inside: ALL },
  { kind: 'ExternalIP', internal: 'Cluster', external: 'Local', outside: OWN, inside: ALL },
  { kind: 'LoadBalancer', internal: 'Cluster', external: 'Local', outside: OWN, inside: ALL },
  { kind: 'NodePort', internal: 'Cluster', external: 'Local', outside: OWN, inside: ALL },
  { kind: 'NodePort', internal: 'Local', external: 'Local', outside: OWN, inside: ALL },
  { kind: 'NodePort', internal: 'Cluster', external: 'Cluster', outside: ALL, inside: ALL },
] as const;

const EVERYWHERE = {
  clusterIps: ips('10.96.0.1'),
  externalIps: ips('198.51.100.1'),
  loadBalancerIps: ips('198.51.100.2'),
  ports: [NODE_PORT],
};

for (const { kind, internal, external, outside, inside } of POLICIES) {
  test(`a ${kind} with internal policy ${internal} and external policy ${external} uses the right endpoints`, (t) => {
    const desired = compile({ ...EVERYWHERE, internalTrafficPolicy: internal, externalTrafficPolicy: external });
    const frontend = frontends(desired).find((entry) => entry.kind === kind);
    t.deepEqual(addresses(frontend?.outside ?? []), [...outside], 'for clients out there');
    t.deepEqual(addresses(frontend?.inside ?? []), [...inside], 'for clients on this node');
  });
}

const EXISTS = [
  { name: 'a ready endpoint elsewhere', endpoints: [REMOTE4], exists: true },
  {
    name: 'an ending endpoint elsewhere',
    endpoints: [endpoint('10.1.0.2', { ready: false, serving: true, terminating: true })],
    exists: true,
  },
  { name: 'an endpoint that starts', endpoints: [endpoint('10.1.0.2', { ready: false })], exists: false },
  {
    name: 'an endpoint that has ended',
    endpoints: [endpoint('10.1.0.2', { ready: false, serving: false, terminating: true })],
    exists: false,
  },
  { name: 'no endpoint', endpoints: [], exists: false },
];

for (const { name, endpoints, exists } of EXISTS) {
  test(`a Local frontend without an endpoint here ${exists ? 'drops' : 'refuses'} where there is ${name}`, (t) => {
    const desired = compile({ externalIps: ips('198.51.100.1'), externalTrafficPolicy: 'Local' }, [
      slice('web', endpoints),
    ]);
    t.like(frontends(desired)[0], { exists, outside: [] });
  });
}

const ANNOTATIONS = [
  { annotations: {}, scheduler: 'maglev', forwarding: 'nat' },
  { annotations: { 'weir.io/scheduler': 'rr' }, scheduler: 'rr', forwarding: 'nat' },
  { annotations: { 'weir.io/scheduler': 'random' }, scheduler: 'random', forwarding: 'nat' },
  ...(['lc', 'sh', 'dh'] as const).flatMap((scheduler) =>
    ['weir.io/scheduler', 'kube-router.io/service.scheduler'].map((key) => ({
      annotations: { [key]: scheduler },
      scheduler,
      forwarding: 'nat' as const,
    })),
  ),
  { annotations: { 'kube-router.io/service.hairpin': '' }, scheduler: 'maglev', forwarding: 'nat' },
  { annotations: { 'weir.io/scheduler': 'maglev' }, scheduler: 'maglev', forwarding: 'nat' },
  { annotations: { 'weir.io/forwarding': 'dsr' }, scheduler: 'maglev', forwarding: 'dsr' },
  { annotations: { 'weir.io/forwarding': 'nat' }, scheduler: 'maglev', forwarding: 'nat' },
  { annotations: { 'kube-router.io/service.scheduler': 'rr' }, scheduler: 'rr', forwarding: 'nat' },
  { annotations: { 'kube-router.io/service.scheduler': 'mh' }, scheduler: 'maglev', forwarding: 'nat' },
  { annotations: { 'kube-router.io/service.dsr': 'tunnel' }, scheduler: 'maglev', forwarding: 'dsr' },
  {
    annotations: { 'weir.io/scheduler': 'random', 'kube-router.io/service.scheduler': 'rr' },
    scheduler: 'random',
    forwarding: 'nat',
  },
  {
    annotations: { 'weir.io/forwarding': 'nat', 'kube-router.io/service.dsr': 'tunnel' },
    scheduler: 'maglev',
    forwarding: 'nat',
  },
  { annotations: { 'example.org/scheduler': 'lc' }, scheduler: 'maglev', forwarding: 'nat' },
] as const;

for (const { annotations, scheduler, forwarding } of ANNOTATIONS) {
  test(`annotations ${JSON.stringify(annotations)} mean ${scheduler} and ${forwarding}`, (t) => {
    const desired = compile({ externalIps: ips('198.51.100.1'), annotations });
    t.like(frontends(desired)[0], { scheduler, forwarding });
    t.deepEqual(desired.problems, []);
  });
}

test('a service without annotations follows the flags of the agent, one with annotations its own', (t) => {
  const flags = { scheduler: 'rr', forwarding: 'dsr' } as const;
  t.like(frontends(compile({ externalIps: ips('198.51.100.1') }, BOTH, flags))[0], flags);
  const annotations = { 'weir.io/scheduler': 'maglev', 'weir.io/forwarding': 'nat' };
  t.like(frontends(compile({ externalIps: ips('198.51.100.1'), annotations }, BOTH, flags))[0], {
    scheduler: 'maglev',
    forwarding: 'nat',
  });
});

const NOT_UNDERSTOOD = [
  { annotation: 'weir.io/scheduler', value: 'fastest' },
  { annotation: 'weir.io/scheduler', value: '' },
  { annotation: 'weir.io/scheduler', value: 'RR' },
  { annotation: 'weir.io/scheduler', value: 'constructor' },
  { annotation: 'weir.io/scheduler', value: '__proto__' },
  { annotation: 'weir.io/forwarding', value: 'tunnel' },
  { annotation: 'weir.io/forwarding', value: 'toString' },
  { annotation: 'kube-router.io/service.scheduler', value: 'wrr' },
  { annotation: 'kube-router.io/service.dsr', value: 'true' },
];

for (const { annotation, value } of NOT_UNDERSTOOD) {
  test(`${annotation}: '${value}' is reported with the name of the service, and the default holds`, (t) => {
    const desired = compile({ externalIps: ips('198.51.100.1'), annotations: { [annotation]: value } });
    t.like(frontends(desired)[0], { scheduler: 'maglev', forwarding: 'nat' });
    t.is(desired.problems.length, 1);
    t.like(desired.problems[0], { object: 'Service shop/web', field: `metadata.annotations[${annotation}]` });
    t.true(desired.problems[0]?.message.includes(`'${value}'`));
    t.regex(desired.problems[0]?.message ?? '', /using (maglev|nat)$/);
  });
}

test('weights go by pod or address, an address first, and by slice where the service says nothing', (t) => {
  const own = [endpoint('10.1.0.1', { pod: 'web-1' }), endpoint('10.1.0.2', { pod: 'web-2' }), endpoint('10.1.0.3')];
  const slices = [slice('web', own, { weight: 5 }), slice('web', ['10.1.0.4', '2001:db8:1::1'], { name: 'web-2' })];
  const annotations = { 'weir.io/weights': 'web-1=2, web-2=3 ,10.1.0.2=0,2001:DB8:1:0::1 = 100, gone=7,' };
  const desired = compile({ clusterIps: ips('10.96.0.1', 'fd00::1'), annotations }, slices);
  const weights = desired.ports[0]?.backends.map(({ address, weight }) => `${address} ${weight}`);
  t.deepEqual(weights, ['10.1.0.1 2', '10.1.0.2 0', '10.1.0.3 5', '10.1.0.4 1', '2001:db8:1::1 100']);
  t.deepEqual(desired.problems, []);
});

for (const bad of ['web-1', 'web-1=', '=3', 'web-1=101', 'web-1=-1', 'web-1=1.5', 'web-1=many', 'web 1=2']) {
  test(`the weight '${bad}' is one problem of the service, and the others count`, (t) => {
    const annotations = { 'weir.io/weights': `${bad}, 10.1.0.1=4, ${bad}` };
    const desired = compile({ clusterIps: ips('10.96.0.1'), annotations });
    t.is(desired.problems.length, 1);
    t.like(desired.problems[0], { object: 'Service shop/web', field: 'metadata.annotations[weir.io/weights]' });
    t.true(desired.problems[0]?.message.startsWith(`'${bad}', '${bad}': must be`));
    t.deepEqual(
      desired.ports[0]?.backends.map(({ weight }) => weight),
      [4, 1],
    );
  });
}

test('a service whose endpoints all weigh nothing has nobody', (t) => {
  const annotations = { 'weir.io/weights': '10.1.0.1=0,10.1.0.2=0' };
  const [frontend] = frontends(compile({ clusterIps: ips('10.96.0.1'), annotations }));
  t.false(frontend?.exists);
  t.is(frontend?.inside.length, 2, 'they keep what they have');
});

test('session affinity holds for every frontend', (t) => {
  for (const { affinity } of frontends(compile({ ...EVERYWHERE, affinity: 60 }))) t.is(affinity, 60);
  for (const { affinity } of frontends(compile(EVERYWHERE))) t.is(affinity, 0);
});

test('DSR holds for all kinds of frontends but ClusterIP', (t) => {
  const desired = compile({ ...EVERYWHERE, annotations: { 'weir.io/forwarding': 'dsr' } });
  for (const { kind, forwarding } of frontends(desired)) t.is(forwarding, kind === 'ClusterIP' ? 'nat' : 'dsr', kind);
});

test('an endpoint with two ports in one service port is a problem by DSR, where only one of them is reached', (t) => {
  const slices = [8080, 8081].map((port) =>
    slice('web', ['10.1.0.1', `10.1.0.${port - 8000}`], { name: `web-${port}`, ports: [{ ...HTTP, port }] }),
  );
  const problems = (forwarding: string) =>
    compileService(
      service('web', { ...EVERYWHERE, annotations: { 'weir.io/forwarding': forwarding } }),
      slices,
      settings(),
    ).problems;
  t.deepEqual(problems('nat'), []);
  t.is(problems('dsr').length, 1);
  t.regex(
    problems('dsr')[0]?.message ?? '',
    /leads to 10\.1\.0\.1 on ports 8080 and 8081: by DSR only 8081 is reached/,
  );
});

test('a backend says where it lives, whether it is a node itself and whether it ends', (t) => {
  const own = [
    endpoint('10.1.0.1', { nodeName: 'node-1' }),
    endpoint('192.0.2.1', { nodeName: 'node-1' }),
    endpoint('10.1.0.3', { nodeName: '', ready: false, serving: true, terminating: true }),
  ];
  const [port] = compile({ clusterIps: ips('10.96.0.1') }, [slice('web', own)]).ports;
  const byAddress = new Map<string, DesiredBackend>(port?.backends.map((backend) => [backend.address, backend]));
  t.like(byAddress.get('10.1.0.1'), {
    port: 8080,
    weight: 1,
    local: true,
    host: false,
    state: 'active',
    nodeName: 'node-1',
  });
  t.like(byAddress.get('192.0.2.1'), { local: true, host: true });
  t.like(byAddress.get('10.1.0.3'), { local: false, host: false, state: 'terminating', nodeName: '' });
});

test('a port goes by its name, and by its number where it has none', (t) => {
  t.is(compile({}).ports[0]?.label, 'Service shop/web:80');
  t.is(compile({ ports: [{ ...HTTP, name: 'http' }] }).ports[0]?.label, 'Service shop/web:http');
});

test('what is named twice is the same object, so that encoding may go by identity', (t) => {
  const [port] = compile({ clusterIps: ips('10.96.0.1'), externalIps: ips('198.51.100.1') }).ports;
  for (const { outside, inside } of port?.frontends ?? []) {
    for (const backend of [...outside, ...inside]) t.true(port?.backends.includes(backend));
  }
});
