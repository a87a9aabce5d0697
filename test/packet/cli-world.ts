/** A dataplane with tables of known content, as the agent would have left it, for the commands that read or remove it. */
import type { ExecutionContext } from 'ava';
import { compileService, type Settings } from '../../src/core/desired.js';
import type { EndpointSlice, Service } from '../../src/core/model.js';
import { parseIp } from '../../src/core/net.js';
import { openDataplane } from '../../src/loader/dataplane.js';
import { KernelTables } from '../../src/maps/kernel-tables.js';
import { type Config, LAYOUT_HASH, MAPS } from '../../src/maps/layout.js';
import { ServiceTables } from '../../src/maps/services.js';
import { openTable } from '../../src/maps/table.js';
import { bpffs } from './loader-world.js';

export const OBJECT = 'bpf/build/weir.bpf.o';
export const ip = (text: string) => parseIp(text)!;

export const SETTINGS: Settings = {
  nodeName: 'node-a',
  zone: '',
  scheduler: 'maglev',
  forwarding: 'nat',
  nodePortAddresses: [ip('198.51.100.1'), ip('2001:db8::1')],
  nodeAddresses: new Set([ip('198.51.100.1')]),
  ownAddresses: new Set([ip('198.51.100.1'), ip('2001:db8::1')]),
  onLink: [],
  serviceProxyName: '',
};

/** Dual stack, with a node port that is served by DSR. */
export const WEB: Service = {
  kind: 'Service',
  namespace: 'shop',
  name: 'web',
  created: 0,
  uid: 'web',
  labels: {},
  annotations: { 'weir.io/forwarding': 'dsr' },
  clusterIps: [ip('10.96.0.10'), ip('fd00:96::10')],
  externalIps: [ip('203.0.113.7')],
  loadBalancerIps: [],
  sourceRanges: [],
  ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 30080 }],
  internalTrafficPolicy: 'Cluster',
  externalTrafficPolicy: 'Cluster',
  healthCheckNodePort: 0,
};

export const DNS: Service = {
  ...WEB,
  namespace: 'kube-system',
  name: 'dns',
  annotations: { 'weir.io/scheduler': 'rr' },
  clusterIps: [ip('10.96.0.53')],
  externalIps: [],
  ports: [{ name: '', protocol: 'UDP', port: 53, nodePort: 0 }],
};

export function slice(service: Service, addresses: readonly [string, string][], port: number): EndpointSlice {
  const endpoints = addresses.map(([address, nodeName]) => ({
    addresses: [ip(address)],
    ready: true,
    serving: true,
    terminating: false,
    nodeName,
    zoneHints: [],
    nodeHints: [],
  }));
  const { namespace, name, ports } = service;
  const [first] = ports;
  const port0 = { name: first?.name ?? '', protocol: first?.protocol ?? 'TCP', port };
  return {
    kind: 'EndpointSlice',
    namespace,
    name: `${name}-1`,
    service: name,
    ports: [port0],
    endpoints,
    triggered: 0,
  };
}

export const WEB_SLICE = slice(
  WEB,
  [
    ['10.244.2.6', 'node-b'],
    ['10.244.1.5', 'node-a'],
    ['fd00:244:1::5', 'node-a'],
  ],
  8080,
);

/** A root with a loaded dataplane; unmounted after the test, whatever it did. */
export function givenRoot(t: ExecutionContext): string {
  const bpfRoot = bpffs(t);
  openDataplane({ objectPath: OBJECT, bpfRoot, flowEntries: { v4: 1024, v6: 1024 } })[Symbol.dispose]();
  return bpfRoot;
}

/** A root that serves WEB with three backends, and DNS with none. */
export function givenServices(t: ExecutionContext): string {
  const root = givenRoot(t);
  using tables = new KernelTables(root);
  const services = new ServiceTables(tables, { drain: 0, clock: () => 0 });
  const desired = [compileService(WEB, [WEB_SLICE], SETTINGS), compileService(DNS, [], SETTINGS)];
  services.commit(services.prepare(desired, []));
  return root;
}

/** What an agent would have said of itself. */
export function writeConfig(root: string, config: Partial<Config>): void {
  using table = openTable(root, MAPS.weir_config);
  const before = table.get(0)!;
  table.set(0, { ...before, layout: LAYOUT_HASH, dataplane: 1, ...config });
}
