import test from 'ava';
import fc from 'fast-check';
import type { EndpointSlice, Node, Resource, Service } from '../../src/core/model.js';
import { expandList, parseAs, parseResource, resourceKey, sameValue } from '../../src/core/objects.js';
import { rawNode, rawService, rawSlice } from '../helpers/samples.js';

function resourceOf(raw: unknown): Resource {
  const parsed = parseResource(raw);
  if (parsed.kind !== 'resource') throw new Error(`not a resource: ${JSON.stringify(parsed)}`);
  return parsed.resource;
}

function serviceOf(raw: unknown): Service {
  const resource = resourceOf(raw);
  if (resource.kind !== 'Service') throw new Error(resource.kind);
  return resource;
}

function sliceOf(raw: unknown): EndpointSlice {
  const resource = resourceOf(raw);
  if (resource.kind !== 'EndpointSlice') throw new Error(resource.kind);
  return resource;
}

function nodeOf(raw: unknown): Node {
  const resource = resourceOf(raw);
  if (resource.kind !== 'Node') throw new Error(resource.kind);
  return resource;
}

const meta = { name: 'web', namespace: 'shop' };
const slice = (fields: object): object => rawSlice('web', ['10.1.0.1'], { ...fields });
const endpoint = (fields: object): object => slice({ endpoints: [{ addresses: ['10.1.0.1'], ...fields }] });

test('a Service becomes its addresses, ports and policies, with what Kubernetes leaves out filled in', (t) => {
  const service = serviceOf({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      ...meta,
      uid: 'u-1',
      creationTimestamp: '2025-01-31T12:00:00Z',
      labels: { app: 'web', 'service.kubernetes.io/service-proxy-name': 'weir' },
      annotations: {
        'weir.io/scheduler': 'rr',
        'kube-router.io/service.dsr': 'tunnel',
        'kubectl.kubernetes.io/x': 'long',
      },
    },
    spec: {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.1',
      clusterIPs: ['10.96.0.1', 'FD00:0::1'],
      externalIPs: ['192.0.2.1', '192.0.2.1'],
      externalTrafficPolicy: 'Local',
      ports: [
        { name: 'http', port: 80, nodePort: 30080 },
        { name: 'dns', port: 53, protocol: 'UDP', nodePort: null },
      ],
    },
    status: {
      loadBalancer: {
        ingress: [{ ip: '198.51.100.1' }, { ip: '198.51.100.2', ipMode: 'Proxy' }, { hostname: 'lb.example.org' }],
      },
    },
  });
  t.like(service, {
    kind: 'Service',
    namespace: 'shop',
    name: 'web',
    uid: 'u-1',
    created: Date.UTC(2025, 0, 31, 12),
    labels: { 'service.kubernetes.io/service-proxy-name': 'weir' },
    annotations: { 'weir.io/scheduler': 'rr', 'kube-router.io/service.dsr': 'tunnel' },
    internalTrafficPolicy: 'Cluster',
    externalTrafficPolicy: 'Local',
  });
  t.deepEqual([...service.clusterIps], ['10.96.0.1', 'fd00::1']);
  t.deepEqual([...service.externalIps], ['192.0.2.1']);
  t.deepEqual([...service.loadBalancerIps], ['198.51.100.1']);
  t.deepEqual(service.ports, [
    { name: 'http', protocol: 'TCP', port: 80, nodePort: 30080 },
    { name: 'dns', protocol: 'UDP', port: 53, nodePort: 0 },
  ]);
});

const AFFINITIES = [
  { spec: {}, affinity: undefined },
  { spec: { sessionAffinity: 'None' }, affinity: undefined },
  { spec: { sessionAffinity: 'ClientIP' }, affinity: 10_800 },
  { spec: { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 1 } } }, affinity: 1 },
  {
    spec: { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 86_400 } } },
    affinity: 86_400,
  },
  {
    spec: { sessionAffinity: 'None', sessionAffinityConfig: { clientIP: { timeoutSeconds: 9 } } },
    affinity: undefined,
  },
];
for (const { spec, affinity } of AFFINITIES) {
  test(`${JSON.stringify(spec)} is an affinity of ${affinity ?? 'no'} seconds`, (t) => {
    t.is(serviceOf(rawService('web', 1, { ...spec })).affinity, affinity);
  });
}

for (const timeoutSeconds of [0, 86_401, 1.5, '60']) {
  test(`a session affinity of ${JSON.stringify(timeoutSeconds)} seconds makes the service invalid`, (t) => {
    const spec = { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds } } };
    const parsed = parseResource(rawService('web', 1, spec));
    t.is(parsed.kind, 'invalid');
    if (parsed.kind !== 'invalid') return;
    t.is(parsed.problems[0]?.field, 'spec.sessionAffinityConfig.clientIP.timeoutSeconds');
  });
}

test("kube-router's service.local makes the external policy Local and the internal one Cluster", (t) => {
  const annotated = (value: string, spec: object) => ({
    ...rawService('web', 1, { ...spec }),
    metadata: { ...meta, annotations: { 'kube-router.io/service.local': value } },
  });
  const local = serviceOf(annotated('true', { internalTrafficPolicy: 'Local' }));
  t.like(local, { internalTrafficPolicy: 'Cluster', externalTrafficPolicy: 'Local' });
  t.like(serviceOf(annotated('false', {})), { externalTrafficPolicy: 'Cluster' });
  const parsed = parseResource(annotated('yes', { externalTrafficPolicy: 'Local' }));
  t.is(parsed.kind, 'resource');
  if (parsed.kind !== 'resource') return;
  t.like(parsed.resource, { externalTrafficPolicy: 'Local' });
  t.deepEqual(
    parsed.problems.map(({ field }) => field),
    ['metadata.annotations[kube-router.io/service.local]'],
  );
});

const WEIGHTS = [
  { text: '0', weight: 0 },
  { text: '1', weight: undefined },
  { text: '100', weight: 100 },
];
for (const { text, weight } of WEIGHTS) {
  test(`a slice annotated weir.io/weight ${text} has it for all its endpoints`, (t) => {
    const parsed = parseResource(weighted(text));
    t.is(parsed.kind, 'resource');
    if (parsed.kind === 'resource') t.like(parsed.resource, { weight });
  });
}

for (const text of ['', '101', '-1', '2.5', 'heavy']) {
  test(`a slice annotated weir.io/weight '${text}' is noted, and counts as if it were not`, (t) => {
    const parsed = parseResource(weighted(text));
    t.is(parsed.kind, 'resource');
    if (parsed.kind !== 'resource') return;
    t.false('weight' in parsed.resource);
    t.deepEqual(
      parsed.problems.map(({ field }) => field),
      ['metadata.annotations[weir.io/weight]'],
    );
  });
}

function weighted(text: string): object {
  const raw = slice({}) as { metadata: object };
  return { ...raw, metadata: { ...raw.metadata, annotations: { 'weir.io/weight': text } } };
}

test('a Service of an edge box needs neither namespace nor cluster address', (t) => {
  const service = serviceOf({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', creationTimestamp: null },
    spec: { externalIPs: ['192.0.2.1'], ports: [{ port: 80 }] },
  });
  t.like(service, { namespace: 'default', created: 0 });
  t.deepEqual([[...service.clusterIps], [...service.externalIps]], [[], ['192.0.2.1']]);
});

const ignored: readonly { name: string; raw: unknown; reason: RegExp }[] = [
  {
    name: 'a kind that Weir does not use',
    raw: { apiVersion: 'v1', kind: 'Secret', metadata: meta },
    reason: /Secret/,
  },
  {
    name: 'an ExternalName service',
    raw: rawService('web', 1, { type: 'ExternalName', clusterIPs: null, clusterIP: '' }),
    reason: /ExternalName/,
  },
  {
    name: 'a headless service',
    raw: rawService('web', 1, { clusterIP: 'None', clusterIPs: ['None'] }),
    reason: /headless/,
  },
  {
    name: 'a headless service even with external addresses',
    raw: rawService('web', 1, { clusterIP: 'None', clusterIPs: null, externalIPs: ['192.0.2.1'] }),
    reason: /headless/,
  },
  {
    name: 'a service without any address',
    raw: rawService('web', 1, { clusterIP: '', clusterIPs: [] }),
    reason: /no address/,
  },
  {
    name: 'a service with the headless label',
    raw: { ...rawService('web', 1), metadata: { ...meta, labels: { 'service.kubernetes.io/headless': '' } } },
    reason: /headless/,
  },
  {
    name: 'a slice of host names',
    raw: slice({ addressType: 'FQDN', endpoints: [{ addresses: ['a.example.org'] }] }),
    reason: /FQDN/,
  },
  {
    name: 'a slice with the headless label',
    raw: slice({ metadata: { ...meta, labels: { 'service.kubernetes.io/headless': '' } } }),
    reason: /headless/,
  },
  { name: 'a slice of no service', raw: slice({ metadata: meta }), reason: /no Service/ },
];
for (const { name, raw, reason } of ignored) {
  test(`${name} is ignored, with the reason`, (t) => {
    const parsed = parseResource(raw);
    t.is(parsed.kind, 'ignored');
    if (parsed.kind === 'ignored') t.regex(parsed.reason, reason);
  });
}

const faulty: readonly { name: string; raw: unknown; field: string; message: RegExp }[] = [
  { name: 'no object', raw: 'text', field: '', message: /must be an object with kind and metadata, got "text"/ },
  { name: 'no kind', raw: { metadata: meta }, field: 'kind', message: /needs a kind/ },
  {
    name: 'another apiVersion',
    raw: slice({ apiVersion: 'discovery.k8s.io/v1beta1' }),
    field: 'apiVersion',
    message: /must be discovery.k8s.io\/v1, got "discovery.k8s.io\/v1beta1"/,
  },
  {
    name: 'no name',
    raw: { ...rawService('web', 1), metadata: { namespace: 'shop' } },
    field: 'metadata.name',
    message: /must be a name .*, got nothing/,
  },
  {
    name: 'a name that is a number',
    raw: { ...rawService('web', 1), metadata: { name: 80 } },
    field: 'metadata.name',
    message: /must be a string, got 80/,
  },
  {
    name: 'a name with a slash',
    raw: { ...rawService('web', 1), metadata: { name: 'a/b' } },
    field: 'metadata.name',
    message: /got "a\/b"/,
  },
  {
    name: 'a port out of range',
    raw: rawService('web', 1, { ports: [{ port: 70000 }] }),
    field: 'spec.ports[0].port',
    message: /^must be a number from 1 to 65535, got 70000$/,
  },
  {
    name: 'a port that is text',
    raw: rawService('web', 1, { ports: [{ port: '80' }] }),
    field: 'spec.ports[0].port',
    message: /got "80"/,
  },
  { name: 'no ports', raw: rawService('web', 1, { ports: [] }), field: 'spec.ports', message: /at least one port/ },
  {
    name: 'two ports without names',
    raw: rawService('web', 1, { ports: [{ port: 80 }, { port: 81 }] }),
    field: 'spec.ports[0].name',
    message: /must be set/,
  },
  {
    name: 'the same port twice',
    raw: rawService('web', 1, {
      ports: [
        { name: 'a', port: 80 },
        { name: 'b', port: 80 },
      ],
    }),
    field: 'spec.ports[1]',
    message: /repeats port 80\/TCP/,
  },
  {
    name: 'an unknown protocol',
    raw: rawService('web', 1, { ports: [{ port: 80, protocol: 'tcp' }] }),
    field: 'spec.ports[0].protocol',
    message: /must be TCP, UDP or SCTP, got "tcp"/,
  },
  {
    name: 'a node port on a ClusterIP service',
    raw: rawService('web', 1, { ports: [{ port: 80, nodePort: 30080 }] }),
    field: 'spec.ports[0].nodePort',
    message: /absent when spec.type is ClusterIP, got 30080/,
  },
  {
    name: 'an unknown type',
    raw: rawService('web', 1, { type: 'External' }),
    field: 'spec.type',
    message: /must be ClusterIP, NodePort, LoadBalancer or ExternalName/,
  },
  {
    name: 'a malformed external address',
    raw: rawService('web', 1, { externalIPs: ['192.0.2.1', '192.0.2.256'] }),
    field: 'spec.externalIPs[1]',
    message: /must be an IP address .*got "192.0.2.256"/,
  },
  {
    name: 'a loopback external address',
    raw: rawService('web', 1, { externalIPs: ['127.0.0.1'] }),
    field: 'spec.externalIPs[0]',
    message: /loopback/,
  },
  {
    name: 'a policy in lower case',
    raw: rawService('web', 1, { externalTrafficPolicy: 'local' }),
    field: 'spec.externalTrafficPolicy',
    message: /must be Cluster or Local/,
  },
  {
    name: 'a source range that is none',
    raw: rawService('web', 1, { type: 'LoadBalancer', loadBalancerSourceRanges: ['10.0.0.0/8', '192.0.2.0/33'] }),
    field: 'spec.loadBalancerSourceRanges[1]',
    message: /must be an address range such as 192\.0\.2\.0\/24, got "192\.0\.2\.0\/33"/,
  },
  {
    name: 'an annotation that is no text',
    raw: { ...rawService('web', 1), metadata: { ...meta, annotations: { 'weir.io/x': true } } },
    field: 'metadata.annotations["weir.io/x"]',
    message: /put it in quotes/,
  },
  {
    name: 'a spec that is a list',
    raw: { ...rawService('web', 1), spec: [] },
    field: 'spec',
    message: /must be an object, got a list/,
  },
  {
    name: 'no addressType',
    raw: slice({ addressType: undefined }),
    field: 'addressType',
    message: /must be IPv4, IPv6 or FQDN, got nothing/,
  },
  {
    name: 'an address of the other family',
    raw: endpoint({ addresses: ['fd00::1'] }),
    field: 'endpoints[0].addresses[0]',
    message: /must be an IPv4 address, as addressType says, got "fd00::1"/,
  },
  {
    name: 'an endpoint without address',
    raw: endpoint({ addresses: [] }),
    field: 'endpoints[0].addresses',
    message: /at least one address/,
  },
  {
    name: 'a condition that is text',
    raw: endpoint({ conditions: { ready: 'yes' } }),
    field: 'endpoints[0].conditions.ready',
    message: /must be true or false, got "yes"/,
  },
  {
    name: 'an IPv6 link-local endpoint',
    raw: slice({ addressType: 'IPv6', endpoints: [{ addresses: ['fe80::1'] }] }),
    field: 'endpoints[0].addresses[0]',
    message: /link-local/,
  },
  {
    name: 'a malformed pod range',
    raw: { ...rawNode('n', '192.0.2.9'), spec: { podCIDRs: ['10.0.0.0/33'] } },
    field: 'spec.podCIDRs[0]',
    message: /address range/,
  },
];
for (const { name, raw, field, message } of faulty) {
  test(`an object with ${name} is refused with its field and the value received`, (t) => {
    const parsed = parseResource(raw);
    t.is(parsed.kind, 'invalid');
    const problem = parsed.kind === 'invalid' ? parsed.problems[0] : undefined;
    t.is(problem?.field, field);
    t.regex(problem?.message ?? '', message);
  });
}

test('a problem names the object as kubectl does', (t) => {
  const parsed = parseResource(rawService('web', 1, { ports: [{ port: 0 }] }));
  t.is(parsed.kind === 'invalid' ? parsed.problems[0]?.object : '', 'Service shop/web');
});

const conditions: readonly { name: string; given: object; ready: boolean; serving: boolean; terminating: boolean }[] = [
  { name: 'without conditions', given: {}, ready: true, serving: true, terminating: false },
  {
    name: 'with null conditions',
    given: { conditions: { ready: null, serving: null, terminating: null } },
    ready: true,
    serving: true,
    terminating: false,
  },
  {
    name: 'that is not ready',
    given: { conditions: { ready: false } },
    ready: false,
    serving: false,
    terminating: false,
  },
  {
    name: 'that terminates',
    given: { conditions: { ready: false, serving: true, terminating: true } },
    ready: false,
    serving: true,
    terminating: true,
  },
];
for (const { name, given, ...expected } of conditions) {
  test(`an endpoint ${name} gets the conditions that Kubernetes gives it`, (t) => {
    t.like(sliceOf(endpoint(given)).endpoints[0], expected);
  });
}

test('a slice keeps node, hints and each address once, and leaves out ports without number', (t) => {
  const parsed = sliceOf(
    slice({
      ports: [
        { name: 'all', port: null },
        { name: 'http', port: 8080 },
      ],
      endpoints: [
        {
          addresses: ['10.1.0.1', '10.1.0.1'],
          nodeName: 'n1',
          hints: { forZones: [{ name: 'a' }], forNodes: [{ name: 'n1' }] },
        },
      ],
    }),
  );
  t.is(parsed.service, 'web');
  t.deepEqual(parsed.ports, [{ name: 'http', protocol: 'TCP', port: 8080 }]);
  t.like(parsed.endpoints[0], { nodeName: 'n1', zoneHints: ['a'], nodeHints: ['n1'] });
  t.deepEqual([...(parsed.endpoints[0]?.addresses ?? [])], ['10.1.0.1']);
});

test('a slice without the label belongs to the Service that owns it', (t) => {
  const owned = slice({
    metadata: {
      ...meta,
      ownerReferences: [
        { kind: 'Node', name: 'n' },
        { kind: 'Service', name: 'api' },
      ],
    },
  });
  t.is(sliceOf(owned).service, 'api');
});

test('a slice whose lists are null has no endpoints', (t) => {
  t.like(sliceOf(slice({ endpoints: null, ports: null })), { endpoints: [], ports: [] });
});

test('a Node becomes its addresses, pod ranges and zone; an address that is none is noted and left out', (t) => {
  const raw = { ...rawNode('node-1', '192.0.2.9'), spec: { podCIDR: '10.244.1.7/24' } };
  t.like(nodeOf(raw), {
    name: 'node-1',
    addresses: ['192.0.2.9'],
    internalIps: ['192.0.2.9'],
    podCidrs: ['10.244.1.0/24'],
    zone: 'a',
  });
  const odd = parseResource({
    ...raw,
    status: {
      addresses: [
        { type: 'ExternalIP', address: 'host' },
        { type: 'InternalIP', address: '192.0.2.9' },
      ],
    },
  });
  t.is(odd.kind, 'resource');
  if (odd.kind === 'resource') t.is(odd.problems[0]?.field, 'status.addresses[0].address');
});

test('a Node that is being deleted, or marked by the cluster autoscaler, is not eligible', (t) => {
  const raw = rawNode('node-1', '192.0.2.9');
  const taint = (key: string): object => ({ ...raw, spec: { taints: [{ key, effect: 'NoSchedule' }] } });
  const deleted = { name: 'node-1', deletionTimestamp: '2026-11-21T00:00:00Z' };
  t.true(nodeOf(raw).eligible);
  t.true(nodeOf(taint('node.kubernetes.io/unschedulable')).eligible);
  t.false(nodeOf(taint('ToBeDeletedByClusterAutoscaler')).eligible);
  t.false(nodeOf({ ...raw, metadata: deleted }).eligible);
});

const BALANCED = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 31000 };

test('healthCheckNodePort counts for load balancers with external policy Local alone', (t) => {
  const portOf = (spec: object): number => serviceOf(rawService('web', 1, { ...spec })).healthCheckNodePort;
  t.is(portOf(BALANCED), 31000);
  t.is(portOf({ ...BALANCED, externalTrafficPolicy: 'Cluster' }), 0);
  t.is(portOf({ ...BALANCED, type: 'NodePort' }), 0);
  t.is(portOf({ ...BALANCED, healthCheckNodePort: 0 }), 0);
  t.is(portOf({ ...BALANCED, healthCheckNodePort: undefined }), 0);
  const wrong = parseResource(rawService('web', 1, { ...BALANCED, healthCheckNodePort: 70000 }));
  t.is(wrong.kind === 'invalid' ? wrong.problems[0]?.field : '', 'spec.healthCheckNodePort');
});

test('a slice keeps the time of what triggered it; a time that is none is no fault', (t) => {
  const triggered = (text: unknown): number => {
    const raw = rawSlice('web', ['10.1.0.1']);
    const annotations = { 'endpoints.kubernetes.io/last-change-trigger-time': text };
    return sliceOf({ ...raw, metadata: { ...(raw['metadata'] as object), annotations } }).triggered;
  };
  t.is(triggered('2026-11-21T04:10:20Z'), Date.UTC(2026, 10, 21, 4, 10, 20));
  t.is(triggered('2026-11-21T04:10:20.123456789Z'), Date.UTC(2026, 10, 21, 4, 10, 20, 123));
  t.is(triggered('yesterday'), 0);
  t.is(triggered(7), 0);
  t.is(sliceOf(rawSlice('web', [])).triggered, 0);
});

test('a problem has what an Event about its object needs', (t) => {
  const raw = rawService('web', 1, { ports: [{ port: 0 }] });
  const parsed = parseResource({ ...raw, metadata: { ...(raw['metadata'] as object), uid: 'u-1' } });
  t.deepEqual(parsed.kind === 'invalid' ? parsed.problems[0]?.event : undefined, {
    about: { kind: 'Service', namespace: 'shop', name: 'web', uid: 'u-1' },
    reason: 'InvalidObject',
  });
});

test('the items of a list are read whether or not they name their kind', (t) => {
  t.deepEqual(expandList({ kind: 'ServiceList', apiVersion: 'v1', items: [{ metadata: meta }] }), [
    { apiVersion: 'v1', kind: 'Service', metadata: meta },
  ]);
  t.deepEqual(expandList({ kind: 'List', items: [rawService('web', 1)] }), [rawService('web', 1)]);
  t.deepEqual(expandList({ kind: 'List', items: null }), []);
  const { kind: _kind, apiVersion: _apiVersion, ...bare } = rawService('web', 1);
  t.is(parseAs('Service', bare).kind, 'resource');
});

test('two readings of the same object are the same, and any difference shows', (t) => {
  t.true(sameValue(sliceOf(slice({})), sliceOf(slice({}))));
  t.false(sameValue(sliceOf(slice({})), sliceOf(endpoint({ nodeName: 'other' }))));
  t.false(sameValue({ a: 1 }, { b: 1 }));
  t.not(
    resourceKey({ kind: 'Service', namespace: 'a', name: 'b.c' }),
    resourceKey({ kind: 'Service', namespace: 'a.b', name: 'c' }),
  );
});

test('no JSON value whatever makes the parser throw', (t) => {
  const kinds = fc.constantFrom(
    ...['Service', 'EndpointSlice', 'Node', 'Pod', 'Namespace', 'NetworkPolicy', 'List', 'ServiceList', 'toString'],
  );
  const versions = fc.constantFrom('v1', 'discovery.k8s.io/v1', 'networking.k8s.io/v1');
  const any = fc.jsonValue({ maxDepth: 4 });
  const fields = fc.dictionary(
    fc.constantFrom(
      'ports',
      'clusterIP',
      'clusterIPs',
      'externalIPs',
      'type',
      'labels',
      'annotations',
      'name',
      'addresses',
      'loadBalancer',
      'podCIDRs',
      'podIPs',
      'containers',
      'podSelector',
      'ingress',
      'egress',
      'policyTypes',
      '__proto__',
    ),
    any,
  );
  const near = fc.record(
    {
      kind: kinds,
      apiVersion: versions,
      metadata: fc.oneof(fc.constant(meta), fields, any),
      spec: fc.oneof(fields, any),
      status: fc.oneof(fields, any),
      endpoints: any,
      ports: any,
      addressType: fc.constantFrom('IPv4', 'IPv6', 7),
      items: any,
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(any, near), (raw) => {
      for (const item of expandList(raw)) {
        const parsed = parseResource(item);
        t.true(parsed.kind !== 'invalid' || parsed.problems.length > 0);
        parseAs('EndpointSlice', item);
      }
    }),
    { numRuns: 2000 },
  );
});

test('source ranges are read without the white space around them', (t) => {
  const service = serviceOf(rawService('web', 1, { loadBalancerSourceRanges: [' 192.0.2.7/24', '2001:db8::/32 '] }));
  t.deepEqual(
    service.sourceRanges.map(({ address, bits }) => `${address}/${bits}`),
    ['192.0.2.0/24', '2001:db8::/32'],
  );
});
