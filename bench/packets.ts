/** What a packet costs: the programs as they ship, over tables filled by the production code, beside the floors of the same run. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileService, type Settings } from '../src/core/desired.js';
import type { EndpointSlice, Service } from '../src/core/model.js';
import { type Ip, parseIp } from '../src/core/net.js';
import { deviceRoles } from '../src/core/network.js';
import { readNetwork } from '../src/host/network.js';
import { ticksPerSecond } from '../src/loader/clock.js';
import { openDataplane } from '../src/loader/dataplane.js';
import { enterNetns } from '../src/loader/devices.js';
import type { Fd } from '../src/loader/libbpf.js';
import { BpfObject } from '../src/loader/object.js';
import { updateElement } from '../src/loader/kernel-map.js';
import { KernelTables } from '../src/maps/kernel-tables.js';
import { LAYOUT_HASH, MAPS } from '../src/maps/layout.js';
import { NodeTables } from '../src/maps/node.js';
import { ServiceTables } from '../src/maps/services.js';
import { serviceConfig } from '../src/maps/service-config.js';
import { openTable } from '../src/maps/table.js';
import { type Figure, Stopwatch, type Stream } from './xdp.js';

const VIP = '10.254.0.1';
const FLOOD_RATE = 125_000;

export interface Setup {
  readonly forwarding: 'nat' | 'dsr';
  readonly services: number;
  readonly backends: number;
}

export interface Result extends Figure {
  readonly what: string;
  readonly setup: string;
  /** The floor that it is held against, and how many times its cost this is. */
  readonly floor: string;
  readonly ratio: number;
  readonly target: number;
}

const established = (flows: number): Stream => ({ ...TCP, flows, warm: true });
const TCP: Stream = { protocol: 'tcp', destination: VIP, port: 80, syn: false, flows: 1, warm: true };
const CASES: readonly {
  name: string;
  stream: Stream;
  floor: { nat: string; dsr: string };
  target: { nat: number; dsr: number };
}[] = [
  {
    name: 'established, 1 flow',
    stream: established(1),
    floor: { dsr: 'maglev_flows', nat: 'nat_flows' },
    target: { dsr: 1.25, nat: 1.35 },
  },
  {
    name: 'established, 64k flows',
    stream: established(65536),
    floor: { dsr: 'maglev_flows', nat: 'nat_flows' },
    target: { dsr: 1.35, nat: 1.35 },
  },
  {
    name: 'established, 512k flows',
    stream: established(1 << 19),
    floor: { dsr: 'maglev_flows', nat: '' },
    target: { dsr: 1.35, nat: 0 },
  },
  {
    name: 'SYN flood, all new flows',
    stream: { ...TCP, syn: true, flows: 1 << 24, warm: false },
    floor: { dsr: 'maglev', nat: '' },
    target: { dsr: 2.6, nat: 0 },
  },
  {
    name: 'UDP, 1 flow',
    stream: { ...TCP, protocol: 'udp', port: 53 },
    floor: { dsr: 'maglev_flows', nat: 'nat_flows' },
    target: { dsr: 1.35, nat: 1.35 },
  },
  {
    name: 'not for a service',
    stream: { ...TCP, destination: '10.254.1.1', flows: 1024, warm: false },
    floor: { dsr: 'maglev_flows', nat: '' },
    target: { dsr: 1.4, nat: 0 },
  },
];
const SETUPS: readonly Setup[] = process.env['BENCH_QUICK']
  ? [
      { forwarding: 'dsr', services: 1, backends: 10 },
      { forwarding: 'nat', services: 1, backends: 1000 },
    ]
  : [
      { forwarding: 'dsr', services: 1, backends: 10 },
      { forwarding: 'dsr', services: 1, backends: 1000 },
      { forwarding: 'dsr', services: 1000, backends: 10 },
      { forwarding: 'dsr', services: 10_000, backends: 10 },
      { forwarding: 'nat', services: 1, backends: 10 },
      { forwarding: 'nat', services: 10_000, backends: 1000 },
    ];

/** Measures everything; progress goes to report as it comes. */
export async function benchPackets(root: string, report: (result: Result) => void): Promise<Result[]> {
  using lab = new Lab();
  using floors = new BpfObject(join(root, 'bench/build/floors.bpf.o'));
  floors.load();
  registerVip(floors);
  const floor = (name: string): Fd => floors.programs().get(name)!.fd();
  using stopwatch = new Stopwatch(join(root, 'bench/build/wrap.bpf.o'), floor('noop'));
  const results: Result[] = [];
  for (const setup of SETUPS) {
    using world = await lab.open(root, setup);
    for (const { name, stream, floor: floorNames, target } of CASES) {
      const floorName = floorNames[setup.forwarding];
      if (floorName === '') continue;
      const least = stopwatch.measure(floor(floorName), stream);
      const figure = stopwatch.measure(world.program, stream);
      const ratio = Math.round((figure.net / least.net) * 100) / 100;
      const label = `${setup.forwarding}, ${setup.services} services, ${setup.backends} backends`;
      const result = {
        ...figure,
        what: name,
        setup: label,
        floor: `${floorName} ${least.net}`,
        ratio,
        target: target[setup.forwarding],
      };
      results.push(result);
      report(result);
    }
  }
  return results;
}

function registerVip(floors: BpfObject): void {
  const vips = floors.maps().get('vips')!.fd();
  for (const [port, protocol] of [
    [80, 6],
    [53, 17],
  ] as const) {
    const key = Buffer.from([10, 254, 0, 1, port >> 8, port & 255, protocol, 0]);
    updateElement(vips, key, Buffer.alloc(8));
  }
}

/** A namespace with an uplink, and in it dataplanes one after the other. */
class Lab implements Disposable {
  readonly #space = `bench${process.pid}`;
  readonly #directory = mkdtempSync(join(tmpdir(), 'weir-bench-'));
  readonly #home = openSync('/proc/self/ns/net', 'r') as Fd;
  #opened = 0;

  constructor() {
    mkdirSync(join(this.#directory, 'bpf'));
    run('mount', '-t', 'bpf', 'bpf', join(this.#directory, 'bpf'));
    run('ip', 'netns', 'add', this.#space);
    const lines = [
      'link add eth0 type veth peer name peer0',
      'link set lo up',
      'link set eth0 up',
      'link set peer0 up',
      'addr add 172.20.0.1/16 dev eth0',
      'neigh add 172.20.0.2 lladdr 02:00:00:00:00:02 dev eth0',
      'route add default via 172.20.0.2',
    ];
    execFileSync('ip', ['-n', this.#space, '-batch', '-'], { input: lines.join('\n') });
    const space = openSync(`/run/netns/${this.#space}`, 'r');
    enterNetns(space as Fd);
    closeSync(space);
    run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
  }

  async open(root: string, setup: Setup): Promise<{ program: Fd } & Disposable> {
    const bpfRoot = join(this.#directory, 'bpf', `d${this.#opened++}`);
    const dataplane = openDataplane({ objectPath: join(root, 'bpf/build/weir.bpf.o'), bpfRoot });
    const tables = new KernelTables(bpfRoot);
    using config = openTable(bpfRoot, MAPS.weir_config);
    const zero = {
      pid: 0,
      dataplane: 1,
      synced: 1,
      generation: 0n,
      lastSync: 0n,
      netns: 0n,
      netnsCookie: 0n,
      ticks: 0n,
      ticksTime: 0n,
      stage: 0,
      stageUntil: 0n,
    };
    const none = serviceConfig({ masqueradeAll: false, serviceCidr: [] });
    const flags = { layout: LAYOUT_HASH, floodRate: FLOOD_RATE, snatFirst: 61000, snatCount: 4536, fastPath: 1 };
    const policy = { policyEpoch: 1, policyFlags: 0, graceUntil: 0n };
    config.set(0, { ...zero, ...flags, ...none, ...policy, ticksPerSecond: ticksPerSecond() });
    const roles = deviceRoles(await readNetwork(), { devices: ['eth0'], podDevices: [] });
    const xdp = new Set(roles.uplinks.map((link) => link.ifindex));
    const nothing = {
      pods: [],
      bridges: [],
      endpoints: new Map<Ip, { host: boolean }>(),
      bindings: new Map(),
      sources: [],
      cluster: [],
    };
    new NodeTables(tables).sync({ uplinks: roles.uplinks, xdp, ...nothing });
    const services = new ServiceTables(tables, { drain: 0, clock: () => Math.round(performance.now()) });
    services.commit(services.prepare(manifest(setup), []));
    return {
      program: dataplane.program('weir_xdp'),
      [Symbol.dispose]: () => {
        tables[Symbol.dispose]();
        dataplane[Symbol.dispose]();
        rmSync(bpfRoot, { recursive: true });
      },
    };
  }

  [Symbol.dispose](): void {
    enterNetns(this.#home);
    closeSync(this.#home);
    run('ip', 'netns', 'del', this.#space);
    run('umount', join(this.#directory, 'bpf'));
    rmSync(this.#directory, { recursive: true });
  }
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** The measured service has the backends; the others make the tables as large as they would be. */
function manifest({ forwarding, services, backends }: Setup) {
  const settings: Settings = {
    nodeName: 'bench',
    zone: '',
    scheduler: 'maglev',
    forwarding,
    nodePortAddresses: [],
    nodeAddresses: new Set(),
    ownAddresses: new Set(),
    onLink: [],
    serviceProxyName: '',
  };
  const measured = [bench('web', 'TCP', 80, VIP, backends), bench('dns', 'UDP', 53, VIP, backends)];
  const others = Array.from({ length: services - 1 }, (_, i) =>
    bench(`other-${i}`, 'TCP', 80, `10.${100 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`, 2),
  );
  return [...measured, ...others].map(({ service, slice }) => compileService(service, [slice], settings));
}

function bench(
  name: string,
  protocol: 'TCP' | 'UDP',
  port: number,
  vip: string,
  backends: number,
): { service: Service; slice: EndpointSlice } {
  const endpoint = (index: number) => ({
    addresses: [parseIp(`10.244.${index >> 8}.${index & 255}`)!],
    ready: true,
    serving: true,
    terminating: false,
    nodeName: 'elsewhere',
    zoneHints: [],
    nodeHints: [],
  });
  const service: Service = {
    kind: 'Service',
    namespace: 'bench',
    name,
    created: 0,
    uid: name,
    labels: {},
    annotations: {},
    clusterIps: [],
    externalIps: [parseIp(vip)!],
    loadBalancerIps: [],
    sourceRanges: [],
    ports: [{ name: 'main', protocol, port, nodePort: 0 }],
    internalTrafficPolicy: 'Cluster',
    externalTrafficPolicy: 'Cluster',
    healthCheckNodePort: 0,
  };
  const endpoints = Array.from({ length: backends }, (_, index) => endpoint(index + 1));
  const slice: EndpointSlice = {
    kind: 'EndpointSlice',
    namespace: 'bench',
    name,
    service: name,
    ports: [{ name: 'main', protocol, port: 8080 }],
    endpoints,
    triggered: 0,
  };
  return { service, slice };
}
