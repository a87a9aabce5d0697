/** v1 Service -> model. */
import {
  type Fault,
  keepEntries,
  NONE,
  readChoice,
  readIps,
  readPort,
  readText,
  routable,
  wholeNumber,
  type Field,
} from './objects-field.js';
import { readCreated, type Identity, type Reading } from './objects-meta.js';
import { parsePrefix, PROTOCOLS, type Ip, type Prefix } from './net.js';
import type { ServicePort, TrafficPolicy } from './model.js';

const TYPES = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'] as const;
const TRAFFIC_POLICIES = ['Cluster', 'Local'] as const;
/** Annotations and labels that some part of Weir reads. */
const KEPT = ['weir.io/', 'kube-router.io/', 'service.kubernetes.io/'];
/** kube-router's way to say externalTrafficPolicy Local; what starts in the cluster goes anywhere then. */
const LOCAL_ANNOTATION = 'kube-router.io/service.local';
export const HEADLESS_LABEL = 'service.kubernetes.io/headless';

/** Reads a Service; headless and ExternalName services are none of a proxy's business. */
export function readService(root: Field, id: Identity): Reading {
  const metadata = root.at('metadata');
  const spec = root.at('spec').object();
  const labels = keepEntries(metadata.at('labels'), KEPT);
  if (HEADLESS_LABEL in labels) return { ignored: `label ${HEADLESS_LABEL}` };
  if (readChoice(spec.at('type'), TYPES, 'ClusterIP') === 'ExternalName') return { ignored: 'type ExternalName' };
  if (spec.at('clusterIP').value === 'None' || spec.at('clusterIPs').items()[0]?.value === 'None')
    return { ignored: 'headless' };
  const clusterIps = readClusterIps(spec);
  const externalIps = readIps(spec.at('externalIPs').items(), routable);
  const loadBalancerIps = readIngress(root.at('status').object().at('loadBalancer').object());
  const ports = readPorts(spec);
  const annotations = keepEntries(metadata.at('annotations'), KEPT);
  const notes: Fault[] = [];
  const local = readLocal(annotations, notes);
  const affinity = readAffinity(spec);
  const reachable =
    clusterIps.length + externalIps.length + loadBalancerIps.length > 0 || ports.some((port) => port.nodePort > 0);
  if (!reachable && root.faults.length === 0) return { ignored: 'no address and no node port' };
  return {
    notes,
    resource: {
      kind: 'Service',
      ...id,
      created: readCreated(metadata),
      uid: readText(metadata.at('uid')),
      labels,
      annotations,
      clusterIps,
      externalIps,
      loadBalancerIps,
      sourceRanges: readRanges(spec.at('loadBalancerSourceRanges')),
      ports,
      healthCheckNodePort: readHealthCheckNodePort(spec),
      internalTrafficPolicy: local ? 'Cluster' : readPolicy(spec.at('internalTrafficPolicy')),
      externalTrafficPolicy: local ? 'Local' : readPolicy(spec.at('externalTrafficPolicy')),
      ...(affinity > 0 ? { affinity } : {}),
    },
  };
}

/** Kept by the API server only for type LoadBalancer with external policy Local: elsewhere it is a left-over of a manifest. */
function readHealthCheckNodePort(spec: Field): number {
  const field = spec.at('healthCheckNodePort');
  const applies = spec.at('type').value === 'LoadBalancer' && spec.at('externalTrafficPolicy').value === 'Local';
  return applies && !field.absent && field.value !== 0 ? readPort(field) : 0;
}

/** Whether kube-router's annotation makes the external policy Local. */
function readLocal(annotations: Readonly<Record<string, string>>, notes: Fault[]): boolean {
  const text = annotations[LOCAL_ANNOTATION] ?? 'false';
  if (text !== 'true' && text !== 'false') {
    const message = `unknown value '${text}', must be true or false: using false`;
    notes.push({ field: `metadata.annotations[${LOCAL_ANNOTATION}]`, message });
  }
  return text === 'true';
}

function readPolicy(field: Field): TrafficPolicy {
  return readChoice(field, TRAFFIC_POLICIES, 'Cluster');
}

/** s, 0 for none. The limits and the default are those of the API (core/v1 ClientIPConfig). */
function readAffinity(spec: Field): number {
  if (readChoice(spec.at('sessionAffinity'), ['None', 'ClientIP'], 'None') === 'None') return 0;
  const timeout = spec.at('sessionAffinityConfig').object().at('clientIP').object().at('timeoutSeconds');
  if (timeout.absent) return AFFINITY_DEFAULT;
  const seconds = wholeNumber(timeout.value, 1, AFFINITY_LONGEST);
  if (seconds === undefined) timeout.expected(`a whole number from 1 to ${AFFINITY_LONGEST}`);
  return seconds ?? AFFINITY_DEFAULT;
}
const AFFINITY_DEFAULT = 10_800;
const AFFINITY_LONGEST = 86_400;

/** clusterIPs, or the older clusterIP alone; '' means none is allocated. */
function readClusterIps(spec: Field): readonly Ip[] {
  const list = spec.at('clusterIPs').items();
  const fields = list.length > 0 ? list : [spec.at('clusterIP')];
  return readIps(fields.filter((field) => !field.absent && field.value !== ''));
}

/** Addresses that the load balancer delivers unchanged (ipMode VIP, the default); host names are for DNS. */
function readIngress(loadBalancer: Field): readonly Ip[] {
  const fields: Field[] = [];
  for (const ingress of loadBalancer.at('ingress').items()) {
    const ip = ingress.object().at('ip');
    if (!ip.absent && ip.value !== '' && readChoice(ingress.at('ipMode'), ['VIP', 'Proxy'], 'VIP') === 'VIP')
      fields.push(ip);
  }
  return readIps(fields);
}

/** A range that cannot be read spoils the object: leaving it out might leave none, and that admits everybody. */
function readRanges(list: Field): readonly Prefix[] {
  const ranges: Prefix[] = [];
  for (const field of list.items()) {
    const range = typeof field.value === 'string' ? parsePrefix(field.value) : undefined;
    if (range) ranges.push(range);
    else field.expected('an address range such as 192.0.2.0/24');
  }
  return ranges.length > 0 ? ranges : NONE;
}

function readPorts(spec: Field): readonly ServicePort[] {
  const list = spec.at('ports');
  const fields = list.items();
  if (fields.length === 0) list.expected('a list of at least one port');
  const names = new Set<string>();
  const taken = new Set<string>();
  return fields.map((field) => {
    const port = readServicePort(field.object(), spec.at('type').value);
    const own = `${port.port}/${port.protocol}`;
    if (fields.length > 1 && port.name === '')
      field.at('name').fault('must be set, because the service has several ports');
    else if (names.has(port.name)) field.at('name').expected('unique in its service');
    if (taken.has(own)) field.fault(`repeats port ${own}: keep one of the two`);
    names.add(port.name);
    taken.add(own);
    return port;
  });
}

function readServicePort(field: Field, type: unknown): ServicePort {
  const nodePort = field.at('nodePort');
  const allocated = !nodePort.absent && nodePort.value !== 0;
  if (allocated && type === 'ClusterIP') nodePort.expected('absent when spec.type is ClusterIP');
  return {
    name: readText(field.at('name')),
    protocol: readChoice(field.at('protocol'), PROTOCOLS, 'TCP'),
    port: readPort(field.at('port')),
    nodePort: allocated ? readPort(nodePort) : 0,
  };
}
