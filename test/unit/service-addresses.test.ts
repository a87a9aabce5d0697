/** Service addresses as the compiler sees them: who may come, whose other ports are refused, what dsr-l2 can serve. */
import test from 'ava';
import { compileService, type DesiredPort, type Settings } from '../../src/core/desired.js';
import type { Change, EndpointSlice, Service } from '../../src/core/model.js';
import { formatPrefix, parsePrefix, type Prefix } from '../../src/core/net.js';
import { clusterRanges } from '../../src/core/settings.js';
import { Store } from '../../src/core/store.js';
import { VirtualAddresses } from '../../src/core/virtual-addresses.js';
import { serviceConfig } from '../../src/maps/service-config.js';
import { endpoint, HTTP, ip, ips, node, service, settings, slice } from '../helpers/model.js';

const prefixes = (...texts: string[]): Prefix[] => texts.map((text) => parsePrefix(text)!);
const SLICES = [slice('web', ['10.1.0.2', 'fd01::2'])];

function compile(fields: Partial<Service>, slices: readonly EndpointSlice[] = SLICES, change: Partial<Settings> = {}) {
  const { ports, problems } = compileService(service('web', fields), slices, settings(change));
  const [port] = ports;
  return { port: port as DesiredPort, problems: problems.map(({ message }) => message) };
}

const kinds = (port: DesiredPort, which: 'restricted' | 'virtual'): string[] =>
  port.frontends.filter((frontend) => frontend[which]).map(({ kind, address }) => `${kind} ${address}`);

const EVERYTHING = {
  clusterIps: ips('10.96.0.1', 'fd00::1'),
  externalIps: ips('198.51.100.1'),
  loadBalancerIps: ips('198.51.100.2', '2001:db8:f::2'),
  ports: [{ ...HTTP, nodePort: 30080 }],
};

test('source ranges bind load balancer addresses alone', (t) => {
  const { port } = compile({ ...EVERYTHING, sourceRanges: prefixes('10.0.0.0/8', '2001:db8::/32') });
  t.deepEqual(kinds(port, 'restricted'), ['LoadBalancer 198.51.100.2', 'LoadBalancer 2001:db8:f::2']);
});

test('a family without a range is open', (t) => {
  const { port } = compile({ ...EVERYTHING, sourceRanges: prefixes('10.0.0.0/8') });
  t.deepEqual(kinds(port, 'restricted'), ['LoadBalancer 198.51.100.2']);
  t.deepEqual(port.sourceRanges.map(formatPrefix), ['10.0.0.0/8']);
});

test('a range with an address of the node admits the load balancer address itself', (t) => {
  const { port } = compile({ ...EVERYTHING, sourceRanges: prefixes('192.0.2.0/24', 'fd00::/8') });
  t.deepEqual(port.sourceRanges.map(formatPrefix), ['192.0.2.0/24', '198.51.100.2/32', 'fd00::/8']);
});

test('every address but a node’s own belongs to its service whole', (t) => {
  const all = ['ClusterIP 10.96.0.1', 'ExternalIP 198.51.100.1', 'LoadBalancer 198.51.100.2'];
  const v6 = ['ClusterIP fd00::1', 'LoadBalancer 2001:db8:f::2'];
  t.deepEqual(kinds(compile(EVERYTHING).port, 'virtual'), [...all, ...v6]);
  const own = compile(EVERYTHING, SLICES, { ownAddresses: new Set(ips('198.51.100.1')) });
  t.deepEqual(kinds(own.port, 'virtual'), [all[0], all[2], ...v6]);
  const others = compile(EVERYTHING, SLICES, { nodeAddresses: new Set(ips('198.51.100.2')) });
  t.deepEqual(kinds(others.port, 'virtual'), [all[0], all[1], ...v6]);
});

const LABEL = 'service.kubernetes.io/service-proxy-name';
for (const { label, name, ours } of [
  { label: undefined, name: '', ours: true },
  { label: undefined, name: 'weir', ours: true },
  { label: 'weir', name: 'weir', ours: true },
  { label: 'weir', name: '', ours: false },
  { label: 'other', name: 'weir', ours: false },
  { label: '', name: '', ours: false },
]) {
  test(`a service labelled for proxy '${label ?? '(none)'}' is ${ours ? 'ours' : 'not ours'} where we are '${name}'`, (t) => {
    const labels = label === undefined ? {} : { [LABEL]: label };
    const { ports } = compileService(
      service('web', { ...EVERYTHING, labels }),
      SLICES,
      settings({ serviceProxyName: name }),
    );
    t.is(ports.length > 0, ours);
  });
}

const L2 = { annotations: { 'weir.io/forwarding': 'dsr-l2' }, ...EVERYTHING };
const SAME_PORT = [slice('web', ['10.1.0.2'], { ports: [{ name: '', protocol: 'TCP', port: 80 }] })];
const ON_LINK = { onLink: prefixes('10.1.0.0/24') };

test('dsr-l2 serves external and load balancer addresses; the others are translated', (t) => {
  const { port, problems } = compile(L2, SAME_PORT, ON_LINK);
  const forwardings = port.frontends.filter(({ address }) => !address.includes(':'));
  t.deepEqual(
    forwardings.map(({ kind, forwarding }) => `${kind} ${forwarding}`),
    ['ClusterIP nat', 'ExternalIP dsr-l2', 'LoadBalancer dsr-l2', 'NodePort nat'],
  );
  t.deepEqual(problems, []);
});

test('dsr-l2 with another target port falls back to translation, and says so', (t) => {
  const { port, problems } = compile(L2, SLICES, ON_LINK);
  t.true(port.frontends.every(({ forwarding, address }) => address.includes(':') || forwarding === 'nat'));
  t.deepEqual(problems, ['must be 80, as the port is, for dsr-l2: using nat']);
});

test('dsr-l2 names endpoints that are on no link, but not those of this node', (t) => {
  const { problems } = compile(L2, SAME_PORT, { onLink: prefixes('10.2.0.0/24') });
  t.is(problems.length, 1);
  t.regex(problems[0] ?? '', /^10\.1\.0\.2:80: no link of an uplink/);
  const local = [slice('web', [endpoint('10.1.0.2', { nodeName: 'node-1' })], { ports: SAME_PORT[0]!.ports })];
  t.deepEqual(compile(L2, local).problems, []);
});

test('node ports leave an address of the node that becomes a service’s, and come back', (t) => {
  const store = new Store();
  const set = (resource: Service): Change => ({ op: 'set', resource });
  const addresses = (): string[][] =>
    store
      .take(settings())
      .desired.filter(({ key }) => key === 'shop/web')
      .map(({ ports }) => ports.flatMap((port) => port.frontends.map(({ address }) => address as string)));
  store.apply([set(service('web', { ports: [{ ...HTTP, nodePort: 30080 }] }))]);
  t.deepEqual(addresses(), [['192.0.2.1', '2001:db8::1']]);
  store.apply([set(service('edge', { externalIps: ips('192.0.2.1') }))]);
  t.deepEqual(addresses(), [['2001:db8::1']]);
  store.apply([set(service('edge', { externalIps: ips('192.0.2.1'), created: 5 }))]);
  t.deepEqual(addresses(), [], 'nothing has moved');
  store.apply([{ op: 'delete', kind: 'Service', namespace: 'shop', name: 'edge' }]);
  t.deepEqual(addresses(), [['192.0.2.1', '2001:db8::1']]);
});

test('an address is a service’s until the last one gives it up', (t) => {
  const held = new VirtualAddresses();
  t.deepEqual(held.set('a', ips('192.0.2.1', '192.0.2.1')), ips('192.0.2.1'));
  t.deepEqual(held.set('b', ips('192.0.2.1', '192.0.2.2')), ips('192.0.2.2'));
  t.deepEqual(held.set('a', []), []);
  t.true(held.has(ip('192.0.2.1')));
  t.deepEqual(held.set('b', []), ips('192.0.2.1', '192.0.2.2'));
});

test('the cluster is what is given, else the nodes’ pod ranges, else everything', (t) => {
  const nodes = new Map([['a', { ...node('a'), podCidrs: ['10.244.1.0/24'] }]]);
  const of = (...ranges: Parameters<typeof clusterRanges>): string[] => clusterRanges(...ranges).map(formatPrefix);
  t.deepEqual(of(new Map(), []), ['0.0.0.0/0', '::/0']);
  t.deepEqual(of(nodes, []), ['10.244.1.0/24', '::/0']);
  t.deepEqual(of(nodes, prefixes('10.0.0.0/8', 'fd00::/8')), ['10.0.0.0/8', 'fd00::/8']);
});

test('flags about services become numbers and masks', (t) => {
  const serviceCidr = prefixes('10.96.0.0/12', 'fd00:96::/112');
  t.deepEqual(serviceConfig({ masqueradeAll: true, serviceCidr }), {
    flags: 7,
    service4: 0x0a600000,
    service4Mask: 0xfff00000,
    service6: ip('fd00:96::'),
    service6Mask: ip('ffff:ffff:ffff:ffff:ffff:ffff:ffff:0'),
  });
  t.is(serviceConfig({ masqueradeAll: false, serviceCidr: [] }).flags, 0);
});
