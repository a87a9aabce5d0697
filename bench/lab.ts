/** The packet bench's namespace: dataplanes as they ship, over tables filled by the production code. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileService, type Settings } from '../src/core/desired.js';
import type { EndpointSlice, Service } from '../src/core/model.js';
import { type Ip, parseIp } from '../src/core/net.js';
import { deviceRoles } from '../src/core/network.js';
import type { Target } from '../src/core/policy/transition.js';
import { readNetwork } from '../src/host/network.js';
import { ticksPerSecond } from '../src/loader/clock.js';
import { openDataplane } from '../src/loader/dataplane.js';
import { enterNetns } from '../src/loader/devices.js';
import type { Fd } from '../src/loader/libbpf.js';
import { KernelTables } from '../src/maps/kernel-tables.js';
import { LAYOUT_HASH, MAPS } from '../src/maps/layout.js';
import { type NodeEndpoint, NodeTables } from '../src/maps/node.js';
import { PolicyTables } from '../src/maps/policy.js';
import { ServiceTables } from '../src/maps/services.js';
import { serviceConfig } from '../src/maps/service-config.js';
import { openTable } from '../src/maps/table.js';

export const VIP = '10.254.0.1';
const FLOOD_RATE = 125_000;

export interface Setup {
  readonly forwarding: 'nat' | 'dsr';
  readonly services: number;
  readonly backends: number;
}

/** A dataplane that is filled, and the device that its packets arrive at. */
export interface Filled extends Disposable {
  readonly xdp: Fd;
  readonly pod: Fd;
  readonly ifindex: number;
}

/** A namespace with an uplink, and in it dataplanes one after the other. */
export class Lab implements Disposable {
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

  /** policy: what isolates pods, if anything does. */
  async open(root: string, setup: Setup, policy?: Target): Promise<Filled> {
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
    const judging = { policyEpoch: 1, policyFlags: 0, graceUntil: 0n };
    config.set(0, { ...zero, ...flags, ...none, ...judging, ticksPerSecond: ticksPerSecond() });
    const roles = deviceRoles(await readNetwork(), { devices: ['eth0'], podDevices: [] });
    const xdp = new Set(roles.uplinks.map((link) => link.ifindex));
    const nothing = { pods: [], bridges: [], bindings: new Map(), sources: [], cluster: [] };
    const node = new NodeTables(tables);
    const policies = new PolicyTables(tables, () => 0);
    const syncNode = (): number => {
      const endpoints = new Map<Ip, NodeEndpoint>();
      for (const [ip, described] of policies.endpoints()) endpoints.set(ip, { host: false, policy: described });
      return node.sync({ uplinks: roles.uplinks, xdp, ...nothing, endpoints });
    };
    syncNode();
    if (policy) policies.sync(policy, [], { syncEndpoints: syncNode, nextEpoch: () => undefined });
    const services = new ServiceTables(tables, { drain: 0, clock: () => Math.round(performance.now()) });
    services.commit(services.prepare(manifest(setup), []));
    return {
      xdp: dataplane.program('weir_xdp'),
      pod: dataplane.program('weir_pod_out'),
      ifindex: roles.uplinks[0]?.ifindex ?? 0,
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
