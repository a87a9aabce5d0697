/**
 * Runs one program on one packet and reports everything that it did: its verdict by name, the packet that came out, the
 * counters that moved, what was dropped and recorded. The tables are filled through the compiler and the codecs of the agent.
 */
import { compileService, type FrontendKind } from '../../src/core/desired.js';
import type { EndpointSlice, Forwarding, Scheduler, Service, TrafficPolicy } from '../../src/core/model.js';
import type { Link } from '../../src/core/network.js';
import { familyOf, type Ip, parsePrefix, type Prefix, type Protocol } from '../../src/core/net.js';
import type { Target } from '../../src/core/policy/transition.js';
import { type Dataplane, openDataplane, type SweepResult } from '../../src/loader/dataplane.js';
import { type TestResult, testRun } from '../../src/loader/program.js';
import { KernelTables } from '../../src/maps/kernel-tables.js';
import { type Config, configCodec, LAYOUT_HASH } from '../../src/maps/layout.js';
import { type NodeEndpoint, type NodeState, NodeTables } from '../../src/maps/node.js';
import { PolicyTables } from '../../src/maps/policy.js';
import { ServiceTables } from '../../src/maps/services.js';
import { decode, type Fields } from './decode.js';
import { ETHERNET, type Packet } from './frames.js';
import { buildNetwork, type DeviceName, hiddenBpffs } from './network.js';
import { Observer, type Observation } from './observer.js';
import { ROSTERS, V4, V6 } from './roster.js';

export type Program = 'weir_xdp' | 'weir_up_in' | 'weir_up_out' | 'weir_pod_in' | 'weir_pod_out';

const NO_POLICIES: Target = { classes: new Map(), sets: new Map(), subjects: new Map() };

/** What one run did. */
export interface Outcome extends Observation {
  /** XDP_PASS, TC_ACT_OK, ... */
  readonly verdict: string;
  readonly frame: Buffer;
  readonly packet: Fields;
  readonly mark: number;
}

const XDP_VERDICTS = ['XDP_ABORTED', 'XDP_DROP', 'XDP_PASS', 'XDP_TX', 'XDP_REDIRECT'];
const TC_VERDICTS: Readonly<Record<number, string>> = { 0: 'TC_ACT_OK', 2: 'TC_ACT_SHOT', 7: 'TC_ACT_REDIRECT' };

/** A service in few words. Its endpoints live on this node where their address is one of ours. */
export interface ServiceSpec {
  readonly name?: string;
  readonly frontends: readonly Ip[];
  readonly kind?: FrontendKind;
  /** spec.loadBalancerSourceRanges */
  readonly ranges?: readonly string[];
  readonly port?: number;
  readonly nodePort?: number;
  readonly target?: number;
  readonly protocol?: Protocol;
  readonly endpoints: readonly Ip[];
  /** Endpoints that still serve what they have. */
  readonly terminating?: readonly Ip[];
  readonly scheduler?: Scheduler;
  readonly forwarding?: Forwarding;
  readonly policy?: TrafficPolicy;
  /** As weir.io/weights has it. */
  readonly weights?: string;
  /** s */
  readonly affinity?: number;
}

const CONFIG: Config = {
  ...configCodec.decode(Buffer.alloc(configCodec.size), 0),
  layout: LAYOUT_HASH,
  dataplane: 1,
  synced: 1,
  fastPath: 1,
  snatFirst: 61000,
  snatCount: 4536,
  policyEpoch: 1,
};

const NODE_ADDRESSES = ROSTERS.flatMap(({ node, nodeOnUp1 }) => [node, nodeOnUp1]);
const LOCAL = new Set<Ip>([
  ...NODE_ADDRESSES,
  ...ROSTERS.flatMap(({ pod1, pod2, podUnbound }) => [pod1, pod2, podUnbound]),
]);

export class World implements Disposable {
  readonly #root = hiddenBpffs();
  readonly #links: ReadonlyMap<DeviceName, Link> = buildNetwork();
  readonly #dataplane: Dataplane;
  readonly #tables: KernelTables;
  readonly #node: NodeTables;
  readonly #services: ServiceTables;
  readonly #observer: Observer;
  readonly #policy: PolicyTables;
  #now = 0;

  constructor(objectPath = 'bpf/build/weir.bpf.o', flowEntries = { v4: 131072, v6: 131072 }) {
    this.#dataplane = openDataplane({
      objectPath,
      bpfRoot: this.#root + '/weir',
      flowEntries,
    });
    this.#tables = new KernelTables(this.#dataplane.root);
    this.#node = new NodeTables(this.#tables);
    this.#services = new ServiceTables(this.#tables, { drain: 0, clock: () => this.#now });
    this.#observer = new Observer(this.#dataplane.root);
    this.#policy = new PolicyTables(this.#tables, () => this.#now);
    this.reset();
  }

  /** Back to a node that serves nothing and remembers nothing. */
  reset(): void {
    this.#observer.forget();
    this.#now += 1_000_000; // numbers and chunks of the last test may be used again
    this.#services.commit(this.#services.prepare([], this.#services.services()));
    this.configure({});
    this.enforce(NO_POLICIES);
    this.#node.sync({ ...this.#nodeState(), uplinks: [], pods: [], endpoints: new Map(), sources: [] });
    this.#node.sync(this.#nodeState());
    this.configure({});
  }

  /** Directory of the pins. */
  get root(): string {
    return this.#dataplane.root;
  }

  /** Settings of the agent; the others as by default. */
  configure(change: Partial<Config>): void {
    this.#observer.tables.weir_config.set(0, { ...CONFIG, ...change });
  }

  /** Replaces all policies, as the agent does when it sees them change. Returns the number of entries written. */
  enforce(target: Target): number {
    this.#now += 10_000;
    return this.#policy.sync(target, NODE_ADDRESSES, {
      syncEndpoints: () => this.#node.sync(this.#nodeState()),
      nextEpoch: () => {
        const config = this.#observer.tables.weir_config.get(0) ?? CONFIG;
        this.#observer.tables.weir_config.set(0, { ...config, policyEpoch: config.policyEpoch + 1 });
      },
    });
  }

  /** What the agent tells the programs about this node; changes last until the next reset. */
  describe(change: Partial<NodeState>): void {
    this.#node.sync({ ...this.#nodeState(), ...change });
  }

  /** Replaces services by others, as the agent does when it sees them change. */
  serve(...specs: readonly ServiceSpec[]): void {
    const desired = specs.map((spec) => {
      const { service, slice } = objects(spec);
      return compileService(service, [slice], {
        nodeName: 'node-1',
        zone: '',
        scheduler: 'maglev',
        forwarding: 'nat',
        nodePortAddresses: ROSTERS.map(({ node }) => node),
        nodeAddresses: new Set(NODE_ADDRESSES),
        ownAddresses: new Set(NODE_ADDRESSES),
        onLink: [],
        serviceProxyName: '',
      });
    });
    this.#services.commit(this.#services.prepare(desired, []));
  }

  /** A service's disappearance. */
  withdraw(name: string): void {
    this.#now += 1;
    this.#services.commit(this.#services.prepare([], [`shop/${name}`]));
  }

  ifindex(device: DeviceName): number {
    return this.link(device).ifindex;
  }

  link(device: DeviceName): Link {
    const link = this.#links.get(device);
    if (!link) throw new TypeError(`no device ${device}`);
    return link;
  }

  /** The frame as it is at the program's hook of a device. */
  run(program: Program, packet: Packet | Buffer, device: DeviceName = 'up0'): Outcome {
    return this.#run(program, packet, device, 0);
  }

  /** As `run`, for packets by the thousand: only the frame that comes out. */
  runBlind(program: Program, packet: Packet): Buffer {
    return this.#execute(program, packet.bytes(), 'up0', 0).data;
  }

  /** Packets of all runs that ended for this reason. */
  packets(reason: string): number {
    return this.#observer.packets(reason);
  }

  /** As `run`, at TC, of a frame whose device has summed up the whole packet; fails where the program spoils that sum. */
  runSummed(program: Exclude<Program, 'weir_xdp'>, packet: Packet, device: DeviceName = 'up0'): Outcome {
    return this.#run(program, packet, device, CHECKSUM_COMPLETE);
  }

  /** What the tables of the programs hold now, as in an outcome. */
  get seen(): Observer {
    return this.#observer;
  }

  async sweep(): Promise<SweepResult> {
    return this.#dataplane.sweep();
  }

  [Symbol.dispose](): void {
    this.#observer[Symbol.dispose]();
    this.#tables[Symbol.dispose]();
    this.#dataplane[Symbol.dispose]();
  }

  #run(program: Program, packet: Packet | Buffer, device: DeviceName, flags: number): Outcome {
    const data = Buffer.isBuffer(packet) ? packet : packet.bytes();
    const before = this.#observer.look();
    const xdp = program === 'weir_xdp';
    const result = this.#execute(program, data, device, flags);
    const verdict = (xdp ? XDP_VERDICTS[result.verdict] : TC_VERDICTS[result.verdict]) ?? `${result.verdict}`;
    const frame = Buffer.from(result.data);
    const readable = frame.length >= ETHERNET ? decode(frame) : {};
    const mark = xdp ? 0 : result.context.readUInt32LE(SKB.mark);
    return { verdict, frame, packet: readable, mark, ...this.#observer.since(before) };
  }

  #execute(program: Program, data: Buffer, device: DeviceName, flags: number): TestResult {
    const index = this.ifindex(device);
    const context = program === 'weir_xdp' ? xdpContext(data.length, index) : skbContext(index);
    return testRun(this.#dataplane.program(program), { data, context, contextRoom: context.length, flags });
  }

  #nodeState(): NodeState {
    const endpoints = new Map<Ip, NodeEndpoint>([...LOCAL].map((ip) => [ip, { host: NODE_ADDRESSES.includes(ip) }]));
    for (const [ip, policy] of this.#policy.endpoints()) endpoints.set(ip, { host: false, policy });
    const bindings = ROSTERS.flatMap(
      ({ pod1, pod2 }) =>
        [
          [pod1, this.link('pod1')],
          [pod2, this.link('pod2')],
        ] as const,
    );
    const sources = [
      ...ROSTERS.flatMap(({ node, node2 }) => [node, node2] as string[]),
      '203.0.113.0/24',
      '2001:db8:d::/48',
    ];
    return {
      uplinks: [this.link('up0'), this.link('up1'), this.link('ov0')],
      pods: [this.link('pod1'), this.link('pod2'), this.link('pod3')],
      bridges: [],
      xdp: new Set([this.ifindex('up0')]),
      endpoints,
      bindings: new Map(bindings),
      cluster: ['0.0.0.0/0', '::/0'].map(prefix),
      sources: sources.map((text) => ({ prefix: prefix(text), name: 1 })),
    };
  }
}

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed) throw new TypeError(`not a prefix: ${text}`);
  return parsed;
}

/** Offsets in struct xdp_md and struct __sk_buff. */
const XDP_MD = { size: 24, dataEnd: 4, ingressIfindex: 12 } as const;
const SKB = { size: 192, mark: 8, ingressIfindex: 36, ifindex: 40 } as const;
/** BPF_F_TEST_SKB_CHECKSUM_COMPLETE, Linux 6.16. */
const CHECKSUM_COMPLETE = 4;

function xdpContext(length: number, ifindex: number): Buffer {
  const context = Buffer.alloc(XDP_MD.size);
  context.writeUInt32LE(length, XDP_MD.dataEnd);
  context.writeUInt32LE(ifindex, XDP_MD.ingressIfindex);
  return context;
}

function skbContext(ifindex: number): Buffer {
  const context = Buffer.alloc(SKB.size);
  context.writeUInt32LE(ifindex, SKB.ingressIfindex);
  context.writeUInt32LE(ifindex, SKB.ifindex);
  return context;
}

type Addresses = Pick<Service, 'clusterIps' | 'externalIps' | 'loadBalancerIps'>;

function addressesOf(kind: FrontendKind, frontends: readonly Ip[]): Addresses {
  const none = { clusterIps: [], externalIps: [], loadBalancerIps: [] };
  if (kind === 'ClusterIP') return { ...none, clusterIps: frontends };
  if (kind === 'NodePort') return { ...none, clusterIps: [V4.clusterIp, V6.clusterIp] };
  return { ...none, [kind === 'ExternalIP' ? 'externalIps' : 'loadBalancerIps']: frontends };
}

function objects(spec: ServiceSpec): { service: Service; slice: EndpointSlice } {
  const {
    name = 'web',
    frontends,
    kind = 'ExternalIP',
    port = 80,
    nodePort = 0,
    target = 8080,
    protocol = 'TCP',
  } = spec;
  const object = { namespace: 'shop', name, created: 0, uid: '', labels: {} };
  const annotations = {
    'weir.io/scheduler': spec.scheduler ?? 'maglev',
    'weir.io/forwarding': spec.forwarding ?? 'nat',
    ...(spec.weights === undefined ? {} : { 'weir.io/weights': spec.weights }),
  };
  const service: Service = {
    kind: 'Service',
    ...object,
    annotations,
    ...addressesOf(kind, frontends),
    sourceRanges: (spec.ranges ?? []).map(prefix),
    ports: [{ name: '', protocol, port, nodePort: kind === 'NodePort' ? nodePort : 0 }],
    internalTrafficPolicy: spec.policy ?? 'Cluster',
    externalTrafficPolicy: spec.policy ?? 'Cluster',
    healthCheckNodePort: 0,
    ...(spec.affinity === undefined ? {} : { affinity: spec.affinity }),
  };
  const endpoint = (ip: Ip, terminating: boolean) => ({
    addresses: [ip],
    ready: !terminating,
    serving: true,
    terminating,
    nodeName: LOCAL.has(ip) ? 'node-1' : 'node-2',
    zoneHints: [],
    nodeHints: [],
  });
  const endpoints = [
    ...spec.endpoints.map((ip) => endpoint(ip, false)),
    ...(spec.terminating ?? []).map((ip) => endpoint(ip, true)),
  ];
  const slice: EndpointSlice = {
    kind: 'EndpointSlice',
    namespace: 'shop',
    name: `${name}-1`,
    service: name,
    ports: [{ name: '', protocol, port: target }],
    endpoints: endpoints.sort((a, b) => familyOf(a.addresses[0] as Ip).localeCompare(familyOf(b.addresses[0] as Ip))),
    triggered: 0,
  };
  return { service, slice };
}
