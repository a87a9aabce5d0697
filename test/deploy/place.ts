/**
 * A node in small, and pods on it: a network namespace with an uplink and a pod's device, a bpf file system, the image's files,
 * and containers as test/deploy/container.sh makes them.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Group } from '../helpers/group.js';
import { CHECKOUT } from './manifests.js';

const CONTAINER = join(CHECKOUT, 'test/deploy/container.sh');
const PATIENCE = 20_000 * Number(process.env['WEIR_TIME_FACTOR'] ?? 1);

/** One service with one backend, elsewhere. */
const SHOP = [
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      clusterIP: '10.96.0.10',
      clusterIPs: ['10.96.0.10'],
      ports: [{ port: 80, targetPort: 8080, protocol: 'TCP' }],
    },
  },
  {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'web-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    ports: [{ port: 8080, protocol: 'TCP' }],
    endpoints: [{ addresses: ['10.244.1.5'], conditions: { ready: true }, nodeName: 'node-b' }],
  },
];

let places = 0;

export interface ContainerOptions {
  readonly capabilities: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Whether the node's settings are mounted where they can be written. */
  readonly sysctl?: boolean;
}

export class Place implements AsyncDisposable {
  readonly space = `weir-deploy-${process.pid}-${places++}`;
  readonly image: string;
  readonly #directory = mkdtempSync(join(tmpdir(), 'weir-deploy-'));
  readonly #cgroup = new Group();
  readonly #containers: RunningContainer[] = [];

  /** `image`: the root of the containers. */
  constructor(image: string) {
    this.image = image;
    for (const directory of ['bpf', 'manifests']) mkdirSync(join(this.#directory, directory));
    writeFileSync(
      join(this.#directory, 'manifests/shop.json'),
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items: SHOP }),
    );
    run('mount', '-t', 'bpf', 'bpf', join(this.#directory, 'bpf'));
    run('ip', 'netns', 'add', this.space);
    const lines = [
      'link set lo up',
      'link add eth0 type veth peer name far',
      'link add vethpod type veth peer name near',
    ];
    lines.push(...['eth0', 'far', 'vethpod', 'near'].map((device) => `link set ${device} up`));
    lines.push('addr add 10.0.0.1/24 dev eth0', 'route add default via 10.0.0.254');
    execFileSync('ip', ['-n', this.space, '-batch', '-'], { input: lines.join('\n') });
  }

  /** What is pinned by Weir, as the node sees it. */
  pins(): string[] {
    return readdirSync(join(this.#directory, 'bpf')).filter((name) => name === 'weir');
  }

  /** Runs a command of the node. */
  run(command: string, ...args: string[]): string {
    return run('ip', 'netns', 'exec', this.space, command, ...args);
  }

  start(argv: readonly string[], { capabilities, env = {}, sysctl = true }: ContainerOptions): RunningContainer {
    const { space, image } = this;
    const [bpffs, manifests] = ['bpf', 'manifests'].map((name) => join(this.#directory, name));
    const wanted = capabilities.map((name) => `,+${name.toLowerCase()}`).join('');
    const unshare = ['unshare', '--mount', '--pid', '--fork', '--kill-child=SIGKILL'];
    const command = [CONTAINER, image, bpffs ?? '', manifests ?? '', this.#cgroup.path, wanted, 'weir', ...argv];
    const environment = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const child = spawn('ip', ['netns', 'exec', space, ...unshare, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ENVIRONMENT: environment.join(' '), WITHOUT_SYSCTL: sysctl ? '' : '1' },
    });
    const container = new RunningContainer(child);
    this.#containers.push(container);
    return container;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const container of this.#containers) await container.kill();
    run('ip', 'netns', 'del', this.space);
    run('umount', join(this.#directory, 'bpf'));
    await this.#cgroup[Symbol.asyncDispose]();
    rmSync(this.#directory, { recursive: true });
  }
}

export class RunningContainer {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #output = '';

  constructor(child: ChildProcess) {
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
    }
    this.#ended = new Promise((resolve) => child.on('close', resolve));
  }

  /** All that it has said, to either output. */
  get output(): string {
    return this.#output;
  }

  /** Process 1 of the container, by the number that the node knows it by. */
  get pid(): number {
    const unshare = this.#child.pid ?? 0;
    return Number(readFileSync(`/proc/${unshare}/task/${unshare}/children`, 'utf8').trim());
  }

  /** Capabilities by name that process 1 has in effect. */
  capabilities(): string[] {
    const [, mask = ''] = /^CapEff:\s*(\w+)/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8')) ?? [];
    const [, names = ''] = /=(.*)/.exec(run('capsh', `--decode=${mask}`)) ?? [];
    return names.trim().split(',').sort();
  }

  /** Waits until its output has this. */
  async says(pattern: RegExp): Promise<void> {
    const deadline = Date.now() + PATIENCE;
    while (!pattern.test(this.#output)) {
      if (this.#child.exitCode !== null || Date.now() > deadline) {
        throw new Error(`the container does not say ${String(pattern)}:\n${this.#output}`);
      }
      await sleep(20);
    }
  }

  /** Its exit code, once it has ended by itself. */
  async ended(): Promise<number | null> {
    return Promise.race([this.#ended, sleep(PATIENCE, -1, { ref: false })]);
  }

  /** As the kubelet stops a pod. */
  async stop(): Promise<number | null> {
    process.kill(this.pid, 'SIGTERM');
    return this.ended();
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

export function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}
