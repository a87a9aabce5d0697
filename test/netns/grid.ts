/**
 * Nine pods in three namespaces on two nodes, each with a service of its own, and a client outside: the grid on which policies
 * are tried. Every pod asks every other by both families, both protocols and both ports, directly and through its service; what
 * the sockets see is compared with what the specification says.
 */
import type { Finding, Probe } from './inhabitant.js';
import { type Agent, type Inhabitant, type Node, PATIENCE, type Pod, World, type WorldOptions } from './world.js';

export const NAMESPACES = ['x', 'y', 'z'] as const;
export const LETTERS = ['a', 'b', 'c'] as const;
export const PORTS = [80, 81] as const;
export const PROTOCOLS = ['TCP', 'UDP'] as const;
const FAMILIES = ['v4', 'v6'] as const;
type Family = (typeof FAMILIES)[number];
/** ms after which a probe counts as denied; one that should have been answered is asked again with more patience. */
const QUICK = 600;
const PATIENT = 4000;
/** An emulated processor is too slow for some packets: its kernel drops them (softnet_stat), and nothing sends a datagram again. */
const ATTEMPTS = PATIENCE > 1 ? 3 : 1;

export interface GridPod {
  readonly namespace: string;
  readonly letter: string;
  readonly pod: Pod;
  labels: Readonly<Record<string, string>>;
  gone: boolean;
}

const MODES = {
  bpf: [],
  ipvs: ['--dataplane', 'ipvs'],
  /* policy alone, for a kernel without IPVS */
  nft: ['--dataplane', 'ipvs', '--run-service-proxy=false'],
} as const;
const DATAPLANE = (process.env['WEIR_DATAPLANE'] ?? 'bpf') as keyof typeof MODES;

/** Who asks whom: an end is a pod as `ns/name`, or an address. */
export interface Question {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly protocol: (typeof PROTOCOLS)[number];
  readonly family: Family;
}

/** The answer of the specification to a question, told from the objects alone. */
export type Oracle = (objects: readonly object[], question: Question) => boolean;

export interface GridOptions extends WorldOptions {
  readonly flags?: readonly string[];
}

interface Asked extends Question {
  readonly host: string;
  readonly label: string;
}

export class Grid implements AsyncDisposable {
  readonly world: World;
  readonly nodes: readonly [Node, Node];
  readonly pods: GridPod[] = [];
  readonly namespaceLabels: Record<string, Readonly<Record<string, string>>> = {};
  agents: readonly Agent[] = [];
  #policies: readonly object[] = [];

  private constructor(world: World) {
    this.world = world;
    this.nodes = [world.node('node-a', 1), world.node('node-b', 2)];
    for (const name of NAMESPACES) this.namespaceLabels[name] = { ns: name };
  }

  static async open({ flags = [], ...options }: GridOptions = {}): Promise<Grid> {
    const world = await World.create(options);
    try {
      const grid = new Grid(world);
      for (const [row, namespace] of NAMESPACES.entries()) {
        for (const [column, letter] of LETTERS.entries()) await grid.#settle(namespace, letter, (row + column) % 2);
      }
      world.write(
        'nodes.json',
        grid.nodes.map((node) => node.manifest()),
      );
      grid.writes([]);
      const all = [...MODES[DATAPLANE], ...flags];
      grid.agents = [await world.agent(grid.nodes[0], ...all), await world.agent(grid.nodes[1], ...all)];
      return grid;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  get client(): Inhabitant {
    return this.world.client;
  }

  at(name: string): GridPod {
    const found = this.pods.find(({ namespace, letter }) => `${namespace}/${letter}` === name);
    if (!found) throw new Error(`no pod ${name}`);
    return found;
  }

  /** A pod that comes later, as `ns/name`. */
  async comes(name: string, node: number): Promise<GridPod> {
    const [namespace = '', letter = ''] = name.split('/');
    return this.#settle(namespace, letter, node);
  }

  /** Puts these policies, and pods and namespaces as they are now, into force. */
  async applies(policies: readonly object[]): Promise<void> {
    this.writes(policies);
    for (const node of this.nodes) await node.agrees();
  }

  writes(policies: readonly object[]): void {
    this.#policies = policies;
    this.world.write('grid.json', this.objects());
  }

  /** Everything that the manifests say, but for the nodes. */
  objects(): object[] {
    const present = this.pods.filter(({ gone }) => !gone);
    const namespaces = Object.entries(this.namespaceLabels).map(([name, labels]) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels: { ...labels, 'kubernetes.io/metadata.name': name } },
    }));
    return [...namespaces, ...present.map(podObject), ...present.flatMap(serviceObjects), ...this.#policies];
  }

  /** Asks everything; the lines of the result name each question whose answer is not the oracle's. */
  async differences(oracle: Oracle): Promise<string[]> {
    const objects = this.objects();
    const present = this.pods.filter(({ gone }) => !gone);
    const askers = [
      ...present.map((who) => ({ name: nameOf(who), voice: who.pod.inhabitant, pod: who })),
      { name: '', voice: this.client, pod: undefined },
    ];
    const found = await Promise.all(
      askers.map(async ({ name, voice, pod }) => {
        const asked = present.flatMap((target) => this.#questions(name, pod, target));
        const wanted = asked.map((question) => oracle(objects, question));
        const findings = await voice.finds(asked.map(toProbe), QUICK);
        for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
          const doubtful = asked.flatMap((question, i) =>
            wanted[i] && findings[i] !== 'open' ? [{ question, i }] : [],
          );
          const again = await voice.finds(
            doubtful.map(({ question }) => toProbe(question)),
            PATIENT,
          );
          doubtful.forEach(({ i }, k) => (findings[i] = again[k]!));
        }
        return asked.flatMap((question, i) => difference(question, wanted[i]!, findings[i]!));
      }),
    );
    return found.flat();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.world[Symbol.asyncDispose]();
  }

  async #settle(namespace: string, letter: string, node: number): Promise<GridPod> {
    const pod = await this.world.pod(this.nodes[node]!, `${namespace}${letter}`);
    for (const port of PORTS) {
      await pod.inhabitant.serve(port, 'tcp');
      await pod.inhabitant.serve(port, 'udp');
    }
    const settled = { namespace, letter, pod, labels: { pod: letter }, gone: false };
    this.pods.push(settled);
    return settled;
  }

  #questions(name: string, asker: GridPod | undefined, target: GridPod): Asked[] {
    const all: Asked[] = [];
    for (const family of FAMILIES) {
      const from = asker ? name : family === 'v4' ? '10.9.0.10' : 'fd00:9::10';
      const hosts = [{ host: target.pod.ip(family), way: 'directly' }];
      /* a ClusterIP is for the nodes' own pods */
      if (asker && DATAPLANE !== 'nft') hosts.push({ host: serviceIp(target, family), way: 'through its service' });
      for (const { host, way } of hosts) {
        for (const protocol of PROTOCOLS) {
          for (const port of PORTS) {
            const label = `${from} to ${nameOf(target)} ${way}, ${protocol} ${port} ${family}`;
            all.push({ from, to: nameOf(target), port, protocol, family, host, label });
          }
        }
      }
    }
    return all;
  }
}

function difference({ label }: Asked, wanted: boolean, finding: Finding): string[] {
  if (wanted === (finding === 'open')) return [];
  return [`${label}: must be ${wanted ? 'open' : 'denied'}, is ${finding}`];
}

function toProbe({ host, port, protocol }: Asked): Probe {
  return { host, port, protocol: protocol === 'TCP' ? 'tcp' : 'udp' };
}

export function nameOf({ namespace, letter }: GridPod): string {
  return `${namespace}/${letter}`;
}

/** The service of a pod has the pod's own last digits. */
export function serviceIp({ pod }: GridPod, family: Family): string {
  return family === 'v4' ? `10.96.1.${pod.v4.split('.').at(-1)}` : `fd00:96::1:${pod.v6.split(':').at(-1)}`;
}

function podObject(who: GridPod): object {
  const { namespace, letter: name, pod, labels } = who;
  const ports = PORTS.flatMap((port) =>
    PROTOCOLS.map((protocol) => ({ name: portName(port, protocol), containerPort: port, protocol })),
  );
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels },
    spec: { nodeName: pod.node.name, containers: [{ name: 'main', image: 'none', ports }] },
    status: { phase: 'Running', podIP: pod.v4, podIPs: [{ ip: pod.v4 }, { ip: pod.v6 }] },
  };
}

export function portName(port: number, protocol: string): string {
  return `serve-${port}-${protocol.toLowerCase()}`;
}

function serviceObjects(who: GridPod): object[] {
  const { namespace, letter, pod } = who;
  const name = `s-${letter}`;
  const ports = PORTS.flatMap((port) =>
    PROTOCOLS.map((protocol) => ({ name: portName(port, protocol), port, protocol })),
  );
  const clusterIPs = FAMILIES.map((family) => serviceIp(who, family));
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace },
      spec: { type: 'ClusterIP', clusterIP: clusterIPs[0], clusterIPs, ports },
    },
    ...FAMILIES.map((family) => ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: `${name}-${family}`, namespace, labels: { 'kubernetes.io/service-name': name } },
      addressType: family === 'v4' ? 'IPv4' : 'IPv6',
      ports,
      endpoints: [{ addresses: [pod.ip(family)], conditions: { ready: true }, nodeName: pod.node.name }],
    })),
  ];
}

/** A NetworkPolicy. */
export function policy(
  name: string,
  spec: Readonly<Record<string, unknown>>,
  annotations: Readonly<Record<string, string>> = {},
): object {
  const [namespace, own] = name.split('/');
  const metadata = { name: own, namespace, annotations };
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata, spec };
}
