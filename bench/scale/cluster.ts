/** A cluster of any size: the objects as an API server holds them, and as kubectl prints them. Pure. */

/** A Kubernetes object as JSON. */
export type Raw = Readonly<Record<string, unknown>>;

export const ENDPOINTS = 10;
/** Address of the first node of a test world, where the agent runs: node 0 of the cluster. */
const HERE = '10.0.0.1';
const PODS_PER_NODE = 100;

/** The objects are numbered: the same number gives the same object in every process. */
export interface ClusterSize {
  readonly services: number;
  readonly nodes: number;
}

export function clusterOf(services: number): ClusterSize {
  return { services, nodes: Math.ceil((services * ENDPOINTS) / PODS_PER_NODE) };
}

export function nodeName(index: number): string {
  return `node-${index}`;
}

export function serviceName(index: number): string {
  return `service-${index}`;
}

export function clusterIp(index: number): string {
  return `10.${96 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
}

/** Every tenth service is reached from outside as well: a node port and a load balancer's address. */
function isExternal(index: number): boolean {
  return index % 10 === 0;
}

/**
 * How many entries of weir_frontends the cluster needs: a node port has one at the node's address of each family, and one a
 * family under no address.
 */
export function frontendsOf({ services }: ClusterSize): number {
  return services + 5 * Math.ceil(services / 10);
}

export function nodeObject(index: number): Raw {
  const address = index === 0 ? HERE : `10.${32 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: nodeName(index), labels: { 'kubernetes.io/os': 'linux' } },
    status: { addresses: [{ type: 'InternalIP', address }] },
  };
}

export function serviceObject(index: number): Raw {
  const external = isExternal(index);
  const ip = clusterIp(index);
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: serviceName(index),
      namespace: 'scale',
      uid: `0e2f9a7c-5a54-4a8e-9b1d-${String(index).padStart(12, '0')}`,
      creationTimestamp: '2026-01-31T12:00:00Z',
      labels: { 'app.kubernetes.io/name': serviceName(index) },
    },
    spec: {
      clusterIP: ip,
      clusterIPs: [ip],
      internalTrafficPolicy: 'Cluster',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [
        {
          name: 'http',
          port: 80,
          protocol: 'TCP',
          targetPort: 8080,
          ...(external ? { nodePort: 20_000 + index / 10 } : {}),
        },
      ],
      selector: { 'app.kubernetes.io/name': serviceName(index) },
      sessionAffinity: 'None',
      type: external ? 'LoadBalancer' : 'ClusterIP',
    },
    status: {
      loadBalancer: external ? { ingress: [{ ip: `192.${index >> 16}.${(index >> 8) & 255}.${index & 255}` }] } : {},
    },
  };
}

/** The slice of a service with its first `count` endpoints, which live on as many nodes. */
export function sliceObject(index: number, count: number, { nodes }: ClusterSize): Raw {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    addressType: 'IPv4',
    metadata: {
      name: `${serviceName(index)}-x7k2p`,
      namespace: 'scale',
      labels: { 'kubernetes.io/service-name': serviceName(index) },
    },
    endpoints: Array.from({ length: count }, (_, at) => endpoint(index * ENDPOINTS + at, nodes)),
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  };
}

function endpoint(number: number, nodes: number): Raw {
  return {
    addresses: [`10.${128 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: nodeName(number % nodes),
    targetRef: {
      kind: 'Pod',
      name: `pod-${number}`,
      namespace: 'scale',
      uid: `7d1c4b5e-9a32-4c1f-8e6a-${String(number).padStart(12, '0')}`,
    },
    zone: `zone-${number % 3}`,
  };
}

/** One document as kubectl prints it: block style, strings that look like other things in quotes. */
export function toYaml(object: Raw): string {
  return `${lines(object, '').join('\n')}\n`;
}

function lines(value: unknown, indent: string): string[] {
  if (Array.isArray(value)) {
    return value.flatMap((item: unknown) => {
      const [first = '', ...rest] = isBlock(item) ? lines(item, `${indent}  `) : [indent + '  ' + scalar(item)];
      return [`${indent}- ${first.slice(indent.length + 2)}`, ...rest];
    });
  }
  return Object.entries(value as object).flatMap(([key, item]: [string, unknown]) => {
    if (!isBlock(item)) return [`${indent}${key}: ${scalar(item)}`];
    return [`${indent}${key}:`, ...lines(item, Array.isArray(item) ? indent : `${indent}  `)];
  });
}

function isBlock(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0;
}

function scalar(value: unknown): string {
  if (typeof value === 'string') return /^[\d.]+T|:/.test(value) ? JSON.stringify(value) : value;
  return JSON.stringify(value);
}
