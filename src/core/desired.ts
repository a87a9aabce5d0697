/**
 * The compiler: one Service with its EndpointSlices becomes the frontends and backends that a dataplane must have. Pure, and
 * the same for every dataplane. Its cost depends on this service alone.
 */
import { type Candidate, candidates, type Place, usableEndpoints } from './endpoints.js';
import { type HealthCheck, healthCheckOf } from './health-check.js';
import { readWeights, type WeightOf } from './weights.js';
import {
  type EndpointSlice,
  type Forwarding,
  FORWARDINGS,
  type ObjectReference,
  type Problem,
  resourceLabel,
  type Scheduler,
  SCHEDULERS,
  type Service,
  type ServicePort,
} from './model.js';
import { type Family, familyOf, type Ip, type Prefix, type Protocol } from './net.js';
import { checkDirect, directForwarding } from './direct.js';
import { admitted } from './source-ranges.js';

export const FRONTEND_KINDS = ['ClusterIP', 'NodePort', 'ExternalIP', 'LoadBalancer'] as const;
export type FrontendKind = (typeof FRONTEND_KINDS)[number];

/** What the compiler must know of this node and of the agent's settings. */
export interface Settings extends Place {
  readonly scheduler: Scheduler;
  readonly forwarding: Forwarding;
  /** Addresses on which node ports are served. */
  readonly nodePortAddresses: readonly Ip[];
  /** Addresses of nodes, this one's included: an endpoint with one of them has no pod device in front of it. */
  readonly nodeAddresses: ReadonlySet<Ip>;
  /** Addresses on any device of this node: what arrives for them is the node's own affair. */
  readonly ownAddresses: ReadonlySet<Ip>;
  /** What is on a link of an uplink, with no gateway between. */
  readonly onLink: readonly Prefix[];
  /** Services with another name in their label are somebody else's; '' is nobody's name. */
  readonly serviceProxyName: string;
}

export interface DesiredBackend {
  readonly address: Ip;
  readonly port: number;
  readonly protocol: Protocol;
  readonly nodeName: string;
  readonly weight: number;
  readonly state: 'active' | 'terminating';
  readonly local: boolean;
  readonly host: boolean;
}

export interface DesiredFrontend {
  readonly kind: FrontendKind;
  readonly address: Ip;
  readonly port: number;
  readonly protocol: Protocol;
  readonly scheduler: Scheduler;
  readonly forwarding: Forwarding;
  /** s for which a client keeps its backend, 0: no affinity. */
  readonly affinity: number;
  /** Backends for clients out there, and for clients on this node. */
  readonly outside: readonly DesiredBackend[];
  readonly inside: readonly DesiredBackend[];
  /** These two may differ, though they need not now: clients out there are bound to a policy. */
  readonly shortCircuit: boolean;
  /** Some endpoint in the cluster takes new flows: an empty list drops instead of refusing. */
  readonly exists: boolean;
  /** Only sources in the port's ranges are admitted. */
  readonly restricted: boolean;
  /** The address is the service's alone: other ports of it are refused, echo is answered. */
  readonly virtual: boolean;
}

/** One port of a service: the unit that numbers stand for in maps. */
export interface DesiredPort {
  /** `Service namespace/name:port`, where port is its name or number. */
  readonly label: string;
  readonly frontends: readonly DesiredFrontend[];
  readonly backends: readonly DesiredBackend[];
  /** Sources that restricted frontends admit. */
  readonly sourceRanges: readonly Prefix[];
}

export interface DesiredService {
  /** `namespace/name` */
  readonly key: string;
  readonly about: ObjectReference;
  readonly ports: readonly DesiredPort[];
  /** What load balancers may ask this node about it. */
  readonly healthCheck: HealthCheck | undefined;
  readonly problems: readonly Problem[];
}

interface Choice {
  readonly scheduler: Scheduler;
  readonly forwarding: Forwarding;
  readonly affinity: number;
}

const PROXY_NAME_LABEL = 'service.kubernetes.io/service-proxy-name';

/** Whether this proxy is to serve the service (KEP-2447: the label names another proxy). */
export function isOurs(service: Service, settings: Settings): boolean {
  const name = service.labels[PROXY_NAME_LABEL];
  return name === undefined || (name !== '' && name === settings.serviceProxyName);
}

export function compileService(service: Service, slices: readonly EndpointSlice[], settings: Settings): DesiredService {
  const problems: Problem[] = [];
  const { kind, namespace, name, uid } = service;
  const key = `${namespace}/${name}`;
  const about = { kind, namespace, name, uid };
  if (!isOurs(service, settings)) return { key, about, ports: [], healthCheck: undefined, problems };
  const choice = chosen(service, settings, problems);
  const healthCheck = healthCheckOf(service, slices, settings.nodeName);
  const weightOf = readWeights(service, problems);
  const ports = service.ports.map((port) =>
    compilePort(service, port, slices, settings, { ...choice, weightOf, problems }),
  );
  for (const port of ports) problems.push(...ambiguous(service, port));
  return { key, about, ports, healthCheck, problems };
}

function compilePort(
  service: Service,
  port: ServicePort,
  slices: readonly EndpointSlice[],
  settings: Settings,
  { weightOf, problems, ...choice }: Choice & { weightOf: WeightOf; problems: Problem[] },
): DesiredPort {
  const frontends: DesiredFrontend[] = [];
  const backends: DesiredBackend[] = [];
  const sourceRanges: Prefix[] = [];
  for (const family of ['v4', 'v6'] as const) {
    const addresses = frontendAddresses(service, port, family, settings);
    if (addresses.length === 0) continue;
    const usable = usableEndpoints(candidates(slices, port, family), settings);
    const all = new Map(
      usable.all.map((endpoint) => {
        const weight = weightOf(endpoint) ?? endpoint.weight;
        return [endpoint, toBackend(endpoint, weight, port.protocol, settings)];
      }),
    );
    const pick = (list: readonly Candidate[]): DesiredBackend[] => list.flatMap((endpoint) => all.get(endpoint) ?? []);
    const cluster = pick(usable.cluster);
    const local = pick(usable.local);
    const exists = cluster.some(({ weight }) => weight > 0);
    backends.push(...all.values());
    const balanced = addresses.filter(({ kind }) => kind === 'LoadBalancer').map(({ address }) => address);
    const ranges = admitted(service.sourceRanges, family, balanced, settings.ownAddresses);
    sourceRanges.push(...ranges);
    for (const { kind, address, number } of addresses) {
      const forwarding = directForwarding(kind, choice.forwarding, number, cluster);
      const lists = policyLists(kind, service, cluster, local);
      const restricted = kind === 'LoadBalancer' && ranges.length > 0;
      const virtual =
        kind !== 'NodePort' && !settings.nodeAddresses.has(address) && !settings.ownAddresses.has(address);
      const flags = { exists, restricted, virtual };
      const at = { kind, address, port: number, protocol: port.protocol };
      frontends.push({ ...at, ...choice, forwarding, ...lists, ...flags });
    }
  }
  const label = portLabel(service, port);
  if (choice.forwarding === 'dsr-l2')
    problems.push(...checkDirect(label, port.port, frontends, backends, settings.onLink));
  return { label, frontends, backends, sourceRanges };
}

/** A tunnelled packet names the endpoint's address alone: its node cannot tell two ports of one address apart. */
function ambiguous(service: Service, { label, frontends, backends }: DesiredPort): Problem[] {
  if (frontends.every((frontend) => frontend.forwarding !== 'dsr')) return [];
  const ports = new Map<Ip, number>();
  return backends.flatMap(({ address, port }) => {
    const other = ports.get(address);
    ports.set(address, port);
    if (other === undefined) return [];
    const message = `${label} leads to ${address} on ports ${other} and ${port}: by DSR only ${port} is reached`;
    return [{ object: resourceLabel(service), field: 'spec.ports', message }];
  });
}

/** semantics: external traffic obeys externalTrafficPolicy, but what starts on this node may go anywhere (the short-circuit). */
function policyLists(
  kind: FrontendKind,
  service: Service,
  cluster: readonly DesiredBackend[],
  local: readonly DesiredBackend[],
): Pick<DesiredFrontend, 'outside' | 'inside' | 'shortCircuit'> {
  if (kind === 'ClusterIP') {
    const list = service.internalTrafficPolicy === 'Local' ? local : cluster;
    return { outside: list, inside: list, shortCircuit: false };
  }
  const shortCircuit = service.externalTrafficPolicy === 'Local';
  return { outside: shortCircuit ? local : cluster, inside: cluster, shortCircuit };
}

/** Among whom a node chooses for another one that has sent it a client's packet without choosing a pod. */
export function backendsByTunnel(
  { address, forwarding }: DesiredFrontend,
  backends: readonly DesiredBackend[],
): DesiredBackend[] {
  if (forwarding !== 'dsr') return [];
  return backends.filter(
    (backend) => backend.local && backend.state === 'active' && familyOf(backend.address) === familyOf(address),
  );
}

function frontendAddresses(
  service: Service,
  port: ServicePort,
  family: Family,
  settings: Settings,
): { kind: FrontendKind; address: Ip; number: number }[] {
  const of = (kind: FrontendKind, addresses: readonly Ip[], number: number) =>
    addresses.filter((address) => familyOf(address) === family).map((address) => ({ kind, address, number }));
  const found = [
    ...of('ClusterIP', service.clusterIps, port.port),
    ...of('ExternalIP', service.externalIps, port.port),
    ...of('LoadBalancer', service.loadBalancerIps, port.port),
    ...(port.nodePort ? of('NodePort', settings.nodePortAddresses, port.nodePort) : []),
  ];
  /* one address may be external and load balancer address at once: the first kind counts */
  return found.filter(
    (entry, index) =>
      found.findIndex((other) => other.address === entry.address && other.number === entry.number) === index,
  );
}

function toBackend(endpoint: Candidate, weight: number, protocol: Protocol, settings: Settings): DesiredBackend {
  return {
    address: endpoint.address,
    port: endpoint.port,
    protocol,
    nodeName: endpoint.nodeName,
    weight,
    state: endpoint.terminating ? 'terminating' : 'active',
    local: endpoint.nodeName !== '' && endpoint.nodeName === settings.nodeName,
    host: settings.nodeAddresses.has(endpoint.address),
  };
}

export function portLabel(service: { namespace: string; name: string }, port: ServicePort): string {
  return `Service ${service.namespace}/${service.name}:${port.name || port.port}`;
}

/** Scheduler and forwarding as annotated, in our own words or kube-router's; a value that is not understood is reported. */
function chosen(service: Service, settings: Settings, problems: Problem[]): Choice {
  const read = <T extends string>(
    keys: Record<string, Readonly<Record<string, T>>>,
    known: readonly string[],
    fallback: T,
  ): T => {
    for (const [annotation, values] of Object.entries(keys)) {
      const text = service.annotations[annotation];
      if (text === undefined) continue;
      const value = Object.hasOwn(values, text) ? values[text] : undefined;
      if (value !== undefined) return value;
      const message = `unknown value '${text}', must be one of ${known.join(', ')}: using ${fallback}`;
      problems.push({ object: resourceLabel(service), field: `metadata.annotations[${annotation}]`, message });
      return fallback;
    }
    return fallback;
  };
  return {
    scheduler: read(SCHEDULER_ANNOTATIONS, SCHEDULERS, settings.scheduler),
    forwarding: read(FORWARDING_ANNOTATIONS, FORWARDINGS, settings.forwarding),
    affinity: service.affinity ?? 0,
  };
}

const SCHEDULER_ANNOTATIONS: Record<string, Readonly<Record<string, Scheduler>>> = {
  'weir.io/scheduler': { maglev: 'maglev', rr: 'rr', lc: 'lc', sh: 'sh', dh: 'dh', random: 'random' },
  'kube-router.io/service.scheduler': { mh: 'maglev', rr: 'rr', lc: 'lc', sh: 'sh', dh: 'dh' },
};

const FORWARDING_ANNOTATIONS: Record<string, Readonly<Record<string, Forwarding>>> = {
  'weir.io/forwarding': { nat: 'nat', dsr: 'dsr', 'dsr-l2': 'dsr-l2' },
  'kube-router.io/service.dsr': { tunnel: 'dsr' },
};
