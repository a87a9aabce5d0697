/**
 * A small network of namespaces with named inhabitants: a client behind a router, nodes on one segment, pods on the nodes.
 *
 *   client 10.9.0.10 --- router (10.9.0.1 | 10.0.0.254) --- node-a 10.0.0.1 --- its pods 10.244.1.x
 *                                                       \-- node-b 10.0.0.2 --- its pods 10.244.2.x
 *
 * IPv6 likewise (fd00:9::, fd00:0::, fd00:244:N::). Everything carries a prefix of this run's own, so runs can coexist, and
 * dispose removes it all, also after a failure.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, parse } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stateDirectory } from '../../src/ipvs/state-file.js';
import type { Command, Finding, LoadResult, Page, Probe, Reply, Target } from './inhabitant.js';
import type { Said } from './talk.js';

export type PodShape = 'routed' | 'bridge';

export interface WorldOptions {
  readonly shape?: PodShape;
  /** net.ipv4.conf.*.rp_filter on the nodes. */
  readonly rpFilter?: 0 | 1 | 2;
  /** `ct state invalid drop` in FORWARD of the nodes, as kube-proxy has it. */
  readonly dropInvalid?: boolean;
  readonly mtu?: number;
  /** The nodes are on this VLAN of a trunk, 0: on the link itself. */
  readonly vlan?: number;
  /** Processes outlive this one; see leave. */
  readonly persistent?: boolean;
}

/** All that a world is made of, for somebody else to remove. */
export interface WorldRecord {
  readonly directory: string;
  readonly spaces: readonly string[];
  readonly processes: readonly number[];
}

export function removeWorld({ directory, spaces, processes }: WorldRecord): void {
  for (const pid of processes) attempt('kill', '-9', `${pid}`);
  for (const space of spaces) attempt('ip', 'netns', 'del', space);
  attempt('umount', join(directory, 'bpf'));
  rmSync(directory, { recursive: true, force: true });
  for (const state of stateDirectories(directory)) rmSync(state, { recursive: true, force: true });
}

/** What agents of the IPVS dataplane have left below /run/weir. */
function stateDirectories(directory: string): string[] {
  const prefix = stateDirectory(join(directory, 'bpf'));
  const { dir, base } = parse(prefix);
  return existsSync(dir)
    ? readdirSync(dir)
        .filter((name) => name.startsWith(base))
        .map((name) => join(dir, name))
    : [];
}

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** WEIR_PROGRAM: another build of the command line, such as the one in a single file. */
export const WEIR = process.env['WEIR_PROGRAM'] ?? join(ROOT, 'bin/weir');
const INHABITANT = fileURLToPath(new URL('./inhabitant.js', import.meta.url));
/** Emulated machines are slow: all patience is multiplied. */
export const PATIENCE = Number(process.env['WEIR_TIME_FACTOR'] ?? 1);

let worlds = 0;
/** Of agents: each start has its own log. */
let starts = 0;

export class World implements AsyncDisposable {
  readonly id: string;
  readonly directory: string;
  readonly options: Required<WorldOptions>;
  readonly #spaces: string[] = [];
  readonly #inhabitants: Inhabitant[] = [];
  readonly #agents: Agent[] = [];
  #pods = 0;
  client!: Inhabitant;

  constructor(options: WorldOptions = {}) {
    this.options = {
      shape: 'routed',
      rpFilter: 1,
      dropInvalid: false,
      mtu: 1500,
      vlan: 0,
      persistent: false,
      ...options,
    };
    this.id = `w${process.pid.toString(36)}${(worlds++).toString(36)}`;
    this.directory = mkdtempSync(join(tmpdir(), `weir-${this.id}-`));
    mkdirSync(join(this.directory, 'manifests'));
    mkdirSync(join(this.directory, 'bpf'));
    run('mount', '-t', 'bpf', 'bpf', join(this.directory, 'bpf'));
  }

  static async create(options: WorldOptions = {}): Promise<World> {
    const world = new World(options);
    try {
      world.#buildRouter();
      world.client = await world.inhabit('client', world.space('client'));
      return world;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  get manifests(): string {
    return join(this.directory, 'manifests');
  }

  space(name: string): string {
    return `${this.id}-${name}`;
  }

  /** Writes a manifest in one step, as an editor that is careful does. */
  write(name: string, objects: readonly object[]): void {
    const list = { apiVersion: 'v1', kind: 'List', items: objects };
    const path = join(this.manifests, name);
    writeFileSync(`${path}.tmp`, JSON.stringify(list, null, 2));
    execFileSync('mv', [`${path}.tmp`, path]);
  }

  writeText(name: string, text: string): void {
    writeFileSync(join(this.manifests, name), text);
  }

  remove(name: string): void {
    rmSync(join(this.manifests, name), { force: true });
  }

  /** A node on the segment: number 1 is 10.0.0.1 with pods in 10.244.1.0/24. */
  node(name: string, number: number): Node {
    const space = this.#addSpace(name);
    const { mtu, rpFilter, shape, vlan } = this.options;
    const [trunk, uplink] = [`n${number}`, vlan ? `vlan${vlan}` : 'eth0'];
    const port = vlan ? `${trunk}v` : trunk;
    batch(this.space('router'), [
      `link add ${trunk} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${space}`,
      `link set ${trunk} up`,
      ...(vlan ? [`link add link ${trunk} name ${port} type vlan id ${vlan}`] : []),
      `link set ${port} master br0 up`,
    ]);
    batch(space, [
      'link set lo up',
      'link set eth0 up',
      ...(vlan ? [`link add link eth0 name ${uplink} type vlan id ${vlan}`, `link set ${uplink} up`] : []),
      `addr add 10.0.0.${number}/24 dev ${uplink}`,
      `addr add fd00::${number}/64 dev ${uplink} nodad`,
      'route add default via 10.0.0.254',
      'route add ::/0 via fd00::fe',
      ...(shape === 'bridge'
        ? [
            'link add cni0 type bridge',
            'link set cni0 up',
            `addr add 10.244.${number}.1/24 dev cni0`,
            `addr add fd00:244:${number}::1/64 dev cni0 nodad`,
          ]
        : []),
    ]);
    sysctl(space, {
      'net.ipv4.conf.all.rp_filter': rpFilter,
      'net.ipv4.conf.default.rp_filter': rpFilter,
      [`net.ipv4.conf.${uplink}.rp_filter`]: rpFilter,
    });
    if (this.options.dropInvalid) dropInvalid(space);
    const node = new Node(this, name, number, space);
    for (const other of this.#nodes) {
      node.routeTo(other);
      other.routeTo(node);
    }
    this.#nodes.push(node);
    batch(this.space('router'), [
      `route add 10.244.${number}.0/24 via 10.0.0.${number}`,
      `route add fd00:244:${number}::/64 via fd00::${number}`,
    ]);
    return node;
  }
  readonly #nodes: Node[] = [];

  /** The router sends an address to a node, as a BGP or static route would. */
  routeAddress(address: string, node: Node): void {
    const v6 = address.includes(':');
    batch(this.space('router'), [
      v6
        ? `route replace ${address}/128 via fd00::${node.number}`
        : `route replace ${address}/32 via 10.0.0.${node.number}`,
    ]);
  }

  async pod(node: Node, name: string): Promise<Pod> {
    const space = this.#addSpace(name);
    const host = 9 + ++this.#pods;
    const v4 = `10.244.${node.number}.${host}`;
    const v6 = `fd00:244:${node.number}::${host.toString(16)}`;
    const device = `veth${name.replace(/[^a-z0-9]/g, '')}`.slice(0, 15);
    const { shape, mtu, rpFilter } = this.options;
    batch(node.space, [`link add ${device} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${space}`]);
    batch(
      node.space,
      shape === 'bridge' ? [`link set ${device} master cni0 up`] : routedHost(device, node.number, v4, v6),
    );
    batch(space, [
      'link set lo up',
      'link set eth0 up',
      ...(shape === 'bridge' ? bridgedPod(node.number, v4, v6) : routedPod(node.number, v4, v6)),
    ]);
    sysctl(node.space, { [`net.ipv4.conf.${device}.rp_filter`]: rpFilter });
    return new Pod(await this.inhabit(name, space), node, v4, v6, device);
  }

  async inhabit(name: string, space: string): Promise<Inhabitant> {
    const inhabitant = new Inhabitant(name, space, this.options.persistent);
    this.#inhabitants.push(inhabitant);
    await inhabitant.ready();
    return inhabitant;
  }

  /** Starts an agent on a node and waits until it has synced. */
  async agent(node: Node, ...flags: string[]): Promise<Agent> {
    const agent = new Agent(this, node, flags);
    this.#agents.push(agent);
    await agent.synced();
    return agent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#left) return;
    for (const agent of this.#agents) await agent.kill();
    for (const inhabitant of this.#inhabitants) inhabitant.end();
    removeWorld({ directory: this.directory, spaces: this.#spaces, processes: [] });
  }

  /** Lets everything live on after this process; removeWorld ends it. */
  leave(): WorldRecord {
    this.#left = true;
    const processes = [...this.#agents.map((agent) => agent.detach()), ...this.#inhabitants.map((who) => who.detach())];
    return { directory: this.directory, spaces: this.#spaces, processes };
  }
  #left = false;

  #addSpace(name: string): string {
    const space = this.space(name);
    run('ip', 'netns', 'add', space);
    this.#spaces.push(space);
    return space;
  }

  #buildRouter(): void {
    const router = this.#addSpace('router');
    const client = this.#addSpace('client');
    batch(router, [
      'link set lo up',
      'link add br0 type bridge',
      'link set br0 up',
      'addr add 10.0.0.254/24 dev br0',
      'addr add fd00::fe/64 dev br0 nodad',
      `link add c0 type veth peer name eth0 netns ${client}`,
      'link set c0 up',
      'addr add 10.9.0.1/24 dev c0',
      'addr add fd00:9::1/64 dev c0 nodad',
    ]);
    batch(client, [
      'link set lo up',
      'link set eth0 up',
      'addr add 10.9.0.10/24 dev eth0',
      'addr add fd00:9::10/64 dev eth0 nodad',
      'route add default via 10.9.0.1',
      'route add ::/0 via fd00:9::1',
    ]);
    /* the segment is a switch: bridged frames are not to be routed or filtered here */
    sysctl(router, {
      'net.ipv4.ip_forward': 1,
      'net.ipv6.conf.all.forwarding': 1,
      'net.ipv4.conf.all.rp_filter': 0,
      'net.ipv4.conf.all.send_redirects': 0,
      'net.bridge.bridge-nf-call-iptables': 0,
      'net.bridge.bridge-nf-call-ip6tables': 0,
    });
  }
}

function routedHost(device: string, number: number, v4: string, v6: string): string[] {
  return [
    `link set ${device} up`,
    `addr add 10.244.${number}.1/32 dev ${device}`,
    `addr add fd00:244:${number}::1/128 dev ${device} nodad`,
    `route add ${v4}/32 dev ${device}`,
    `route add ${v6}/128 dev ${device}`,
  ];
}

function routedPod(number: number, v4: string, v6: string): string[] {
  return [
    `addr add ${v4}/32 dev eth0`,
    `addr add ${v6}/128 dev eth0 nodad`,
    `route add 10.244.${number}.1/32 dev eth0`,
    `route add default via 10.244.${number}.1`,
    `route add fd00:244:${number}::1/128 dev eth0`,
    `route add ::/0 via fd00:244:${number}::1`,
  ];
}

function bridgedPod(number: number, v4: string, v6: string): string[] {
  return [
    `addr add ${v4}/24 dev eth0`,
    `addr add ${v6}/64 dev eth0 nodad`,
    `route add default via 10.244.${number}.1`,
    `route add ::/0 via fd00:244:${number}::1`,
  ];
}

export class Node {
  readonly world: World;
  readonly name: string;
  readonly number: number;
  readonly space: string;

  constructor(world: World, name: string, number: number, space: string) {
    this.world = world;
    this.name = name;
    this.number = number;
    this.space = space;
  }

  get v4(): string {
    return `10.0.0.${this.number}`;
  }

  get v6(): string {
    return `fd00::${this.number}`;
  }

  get bpfRoot(): string {
    return join(this.world.directory, 'bpf', this.name);
  }

  routeTo(other: Node): void {
    batch(this.space, [
      `route add 10.244.${other.number}.0/24 via ${other.v4}`,
      `route add fd00:244:${other.number}::/64 via ${other.v6}`,
    ]);
  }

  /** The node's object, as the API server would have it. */
  manifest(): object {
    const addresses = [this.v4, this.v6].map((address) => ({ type: 'InternalIP', address }));
    return { apiVersion: 'v1', kind: 'Node', metadata: { name: this.name }, status: { addresses } };
  }

  readonly weirCommand = WEIR;

  /** Runs a weir command on this node; its JSON output, as the caller knows it to be. */
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
  weir<T>(...args: string[]): T {
    return JSON.parse(this.run(WEIR, ...args, '-o', 'json', '--bpf-root', this.bpfRoot)) as T;
  }

  run(command: string, ...args: string[]): string {
    return run('ip', 'netns', 'exec', this.space, command, ...args);
  }

  /** Waits until the kernel's tables are what the manifests say. */
  async agrees(): Promise<void> {
    const flags = ['--manifests', this.world.manifests, '--node-name', this.name];
    await until(
      () => this.status('diff', ...flags) === 0,
      10_000,
      () =>
        `${this.name} does not agree with the manifests: ${this.run(WEIR, 'diff', ...flags, '--bpf-root', this.bpfRoot)}`,
    );
  }

  /** Runs a weir command that may answer no: its JSON output and its exit status. */
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
  asks<T>(...args: string[]): { status: number | null; answer: T } {
    const command = [WEIR, ...args, '-o', 'json', '--bpf-root', this.bpfRoot];
    const { status, stdout } = spawnSync('ip', ['netns', 'exec', this.space, ...command], { encoding: 'utf8' });
    return { status, answer: JSON.parse(stdout) as T };
  }

  /** Exit status of a weir command. */
  status(...args: string[]): number {
    try {
      this.run(WEIR, ...args, '--bpf-root', this.bpfRoot);
      return 0;
    } catch (error) {
      return (error as { status?: number }).status ?? -1;
    }
  }
}

export class Inhabitant {
  readonly name: string;
  readonly space: string;
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #next = 1;

  constructor(name: string, space: string, persistent: boolean) {
    this.name = name;
    this.space = space;
    this.#process = spawn('ip', ['netns', 'exec', space, process.execPath, INHABITANT], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      detached: persistent,
      env: { ...process.env, ...(persistent ? { WEIR_INHABITANT_STAYS: '1' } : {}) },
    });
    this.#process.on('message', (message: { id: number; result?: unknown; error?: string }) => {
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error !== undefined) waiting?.reject(new Error(message.error));
      else waiting?.resolve(message.result as never);
    });
    this.#process.on('exit', () => {
      for (const waiting of this.#waiting.values()) waiting.reject(new Error(`${name} has ended`));
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  async ready(): Promise<void> {
    await this.#tell<undefined>({ do: 'stop', port: 0 });
  }

  /** At one address, or at all of both families. */
  serve(port: number, protocol: 'tcp' | 'udp' = 'tcp', address = '::'): Promise<void> {
    return this.#tell({ do: 'serve', name: this.name, port, protocol, address });
  }

  stop(port: number): Promise<void> {
    return this.#tell({ do: 'stop', port });
  }

  /** One TCP request. */
  gets(host: string, port: number, more: Partial<Target> = {}): Promise<Reply> {
    return this.#tell({ do: 'get', target: target(host, port, more) });
  }

  /** One UDP request. */
  asks(host: string, port: number, more: Partial<Target> = {}): Promise<Reply> {
    return this.#tell({ do: 'ask', target: target(host, port, more) });
  }

  /** Many requests at once. */
  finds(probes: readonly Probe[], timeout: number): Promise<Finding[]> {
    return this.#tell({ do: 'probe', probes, timeout: timeout * PATIENCE });
  }

  /** One HTTP GET. */
  fetches(url: string): Promise<Page> {
    return this.#tell({ do: 'fetch', url });
  }

  /** Opens a UDP socket towards an address; returns its number for says. */
  talks(host: string, port: number, connected: boolean, more: Partial<Target> = {}): Promise<number> {
    return this.#tell({ do: 'talk', target: target(host, port, more), connected });
  }

  says(id: number): Promise<Said> {
    return this.#tell({ do: 'say', id });
  }

  downloads(host: string, port: number, bytes: number): Promise<{ sent: string; received: string }> {
    return this.#tell({ do: 'download', target: target(host, port), bytes });
  }

  uploads(host: string, port: number, bytes: number): Promise<{ sent: string; received: string }> {
    return this.#tell({ do: 'upload', target: target(host, port), bytes });
  }

  startsLoad(host: string, port: number, concurrency = 4): Promise<void> {
    return this.#tell({ do: 'load', target: target(host, port), concurrency });
  }

  endsLoad(): Promise<LoadResult> {
    return this.#tell({ do: 'endLoad' });
  }

  holds(host: string, port: number): Promise<{ id: number; reply: Reply }> {
    return this.#tell({ do: 'hold', target: target(host, port) });
  }

  speaks(id: number): Promise<Reply> {
    return this.#tell({ do: 'speak', id });
  }

  releases(id: number): Promise<void> {
    return this.#tell({ do: 'release', id });
  }

  /** What went wrong with a request that must fail; '' if it did not. */
  async fails(request: Promise<unknown>): Promise<string> {
    return request.then(
      () => '',
      (error: Error) => error.message,
    );
  }

  ip(...lines: string[]): void {
    batch(this.space, lines);
  }

  end(): void {
    this.#process.kill('SIGKILL');
  }

  detach(): number {
    this.#process.disconnect();
    this.#process.unref();
    return this.#process.pid ?? 0;
  }

  #tell<T>(command: Command): Promise<T> {
    const id = this.#next++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#process.send({ id, command });
    });
  }
}

function target(host: string, port: number, more: Partial<Target> = {}): Target {
  return { host, port, ...more, timeout: (more.timeout ?? 3000) * PATIENCE };
}

export class Pod {
  readonly inhabitant: Inhabitant;
  readonly node: Node;
  readonly v4: string;
  readonly v6: string;
  readonly device: string;

  constructor(inhabitant: Inhabitant, node: Node, v4: string, v6: string, device: string) {
    this.inhabitant = inhabitant;
    this.node = node;
    this.v4 = v4;
    this.v6 = v6;
    this.device = device;
  }

  get name(): string {
    return this.inhabitant.name;
  }

  ip(family: 'v4' | 'v6'): string {
    return family === 'v4' ? this.v4 : this.v6;
  }
}

function commandOf(pid: string): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
}

export class Agent {
  readonly node: Node;
  readonly flags: readonly string[];
  readonly #world: World;
  #process: ChildProcess;
  #log = '';

  /** What it has said since its last start. */
  get log(): string {
    return readFileSync(this.#log, 'utf8');
  }

  constructor(world: World, node: Node, flags: readonly string[]) {
    this.#world = world;
    this.node = node;
    this.flags = flags;
    this.#process = this.#spawn();
  }

  /** The same agent again, after it was killed or stopped. */
  async restart(): Promise<void> {
    this.#process = this.#spawn();
    await this.synced();
  }

  async synced(): Promise<void> {
    await until(
      () => /synced services=/.test(this.log),
      20_000,
      () => `agent on ${this.node.name} did not sync:\n${this.log}`,
      () => this.#process.exitCode !== null,
    );
  }

  /** Waits for a line of the log. */
  async says(pattern: RegExp, patience = 5000): Promise<void> {
    await until(
      () => pattern.test(this.log),
      patience,
      () => `agent on ${this.node.name} did not say ${pattern}:\n${this.log}`,
    );
  }

  /** Entries that the last start changed in the kernel. */
  get changedAtStart(): number {
    return Number(/synced services=\d+ entries-changed=(\d+)/.exec(this.log)?.[1] ?? -1);
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    const ended = this.ended();
    this.#process.kill(signal);
    return ended;
  }

  /** Kills programs that it has started, by the words of their command. */
  killChildren(command: string): void {
    const { pid = 0 } = this.#process;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    const matching = children.filter((child) => commandOf(child).startsWith(command));
    if (matching.length === 0) throw new Error(`the agent on ${this.node.name} has not started ${command}`);
    for (const child of matching) process.kill(Number(child), 'SIGKILL');
  }

  /** Its exit status, once it has one. */
  async ended(): Promise<number | null> {
    const child = this.#process;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    return new Promise((resolve) => child.once('exit', resolve));
  }

  detach(): number {
    this.#process.unref();
    return this.#process.pid ?? 0;
  }

  #spawn(): ChildProcess {
    const { node } = this;
    const flags = ['--manifests', this.#world.manifests, '--node-name', node.name, '--bpf-root', node.bpfRoot];
    const ports = ['--health-bind-address', '127.0.0.1:10256', '--metrics-bind-address', '127.0.0.1:10249'];
    const all = [
      'netns',
      'exec',
      node.space,
      WEIR,
      'agent',
      ...flags,
      ...ports,
      '--flow-entries',
      '65536,65536',
      ...this.flags,
    ];
    const { persistent } = this.#world.options;
    /* a log file, so that an agent which outlives this process has somewhere to write */
    const path = join(this.#world.directory, `${node.name}-${starts++}.log`);
    const file = openSync(path, 'w');
    const child = spawn('ip', all, { stdio: ['ignore', 'inherit', file], detached: persistent });
    closeSync(file);
    this.#log = path;
    return child;
  }
}

function dropInvalid(space: string): void {
  const chain = 'type filter hook forward priority 0\n ct state invalid counter drop\n';
  const rules = `table inet guard {\n chain forward {\n ${chain} }\n}\n`;
  execFileSync('ip', ['netns', 'exec', space, '/usr/sbin/nft', '-f', '-'], {
    input: rules,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
}

export function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 26 });
}

function attempt(command: string, ...args: string[]): void {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
  } catch {
    /* it may not have been made */
  }
}

/** Several `ip` commands in one process. */
export function batch(space: string, lines: readonly string[]): void {
  execFileSync('ip', ['-n', space, '-batch', '-'], {
    input: lines.join('\n') + '\n',
    stdio: ['pipe', 'ignore', 'inherit'],
  });
}

export function sysctl(space: string, values: Readonly<Record<string, number>>): void {
  const lines = Object.entries(values).map(
    ([name, value]) => `echo ${value} > /proc/sys/${name.replaceAll('.', '/')} 2>/dev/null || true`,
  );
  execFileSync('ip', ['netns', 'exec', space, 'sh', '-c', lines.join('\n')], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

export async function until(
  condition: () => boolean | Promise<boolean>,
  patience: number,
  failure: () => string,
  hopeless: () => boolean = () => false,
): Promise<void> {
  const end = Date.now() + patience * PATIENCE;
  while (!(await condition())) {
    if (Date.now() > end || hopeless()) throw new Error(failure());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
