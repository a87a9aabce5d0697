/** Model objects in few words, for the tests of the pure core. What is not said is as plain as possible. */
import type { Settings } from '../../src/core/desired.js';
import type { Endpoint, EndpointSlice, Node, Service, ServicePort } from '../../src/core/model.js';
import { type Ip, parseIp } from '../../src/core/net.js';

export function ip(text: string): Ip {
  const address = parseIp(text);
  if (!address) throw new TypeError(`not an address: ${text}`);
  return address;
}

export const ips = (...texts: string[]): Ip[] => texts.map(ip);

export const HTTP: ServicePort = { name: '', protocol: 'TCP', port: 80, nodePort: 0 };

/** Service shop/<name> without any address, with port 80. */
export function service(name: string, fields: Partial<Service> = {}): Service {
  return {
    kind: 'Service',
    namespace: 'shop',
    name,
    created: 0,
    uid: '',
    labels: {},
    annotations: {},
    clusterIps: [],
    externalIps: [],
    loadBalancerIps: [],
    sourceRanges: [],
    ports: [HTTP],
    internalTrafficPolicy: 'Cluster',
    externalTrafficPolicy: 'Cluster',
    healthCheckNodePort: 0,
    ...fields,
  };
}

/** A ready endpoint on node-2. */
export function endpoint(address: string, fields: Partial<Endpoint> = {}): Endpoint {
  return {
    addresses: [ip(address)],
    ready: true,
    serving: fields.ready ?? true,
    terminating: false,
    nodeName: 'node-2',
    zoneHints: [],
    nodeHints: [],
    ...fields,
  };
}

/** A slice of shop/<of> whose endpoints listen on 8080. */
export function slice(
  of: string,
  endpoints: readonly (Endpoint | string)[],
  fields: Partial<EndpointSlice> = {},
): EndpointSlice {
  return {
    kind: 'EndpointSlice',
    namespace: 'shop',
    name: `${of}-1`,
    service: of,
    ports: [{ name: '', protocol: 'TCP', port: 8080 }],
    endpoints: endpoints.map((entry) => (typeof entry === 'string' ? endpoint(entry) : entry)),
    triggered: 0,
    ...fields,
  };
}

export function node(name: string, ...addresses: string[]): Node {
  const own = { addresses: ips(...addresses), internalIps: ips(...addresses) };
  return { kind: 'Node', name, ...own, podCidrs: [], zone: '', eligible: true };
}

/** Node-1 in zone a, with node ports at 192.0.2.1 and 2001:db8::1. */
export function settings(fields: Partial<Settings> = {}): Settings {
  return {
    nodeName: 'node-1',
    zone: 'a',
    scheduler: 'maglev',
    forwarding: 'nat',
    nodePortAddresses: ips('192.0.2.1', '2001:db8::1'),
    nodeAddresses: new Set(ips('192.0.2.1', '2001:db8::1')),
    ownAddresses: new Set(ips('192.0.2.1', '2001:db8::1')),
    onLink: [],
    serviceProxyName: '',
    ...fields,
  };
}
