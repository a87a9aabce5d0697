/**
 * The control plane at the size of a large cluster: an agent of its own on a node of its own, fed with 10,000 services of ten
 * endpoints each, and watched from outside through the maps that it writes.
 */
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ip } from '../src/core/net.js';
import { type Frontend, type FrontendKey, MAPS, SEGMENT } from '../src/maps/layout.js';
import { openTable, type Table } from '../src/maps/table.js';
import { type Node, World } from '../test/netns/world.js';
import { clusterIp, clusterOf, type ClusterSize, ENDPOINTS, frontendsOf, nodeName } from './scale/cluster.js';
import { type Feed, folderFeed, serverFeed } from './scale/feeds.js';
import { AgentProcess, monotonic } from './scale/process.js';

export interface ScaleFigure {
  readonly feed: string;
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** The most that is wanted; undefined: told for information. */
  readonly target: number | undefined;
}

const IDLE_MS = 20_000;
/** Entries are looked for this often while the agent starts, ms. */
const GLANCE = 5;
const PATIENCE = 10_000;

interface Run {
  readonly node: Node;
  readonly cluster: ClusterSize;
  readonly feed: Feed;
  readonly changes: number;
  readonly tell: (what: string, value: number, unit: string, target?: number) => void;
}

/** Measures every feed in turn, or those whose names hold `only`; each figure is told as soon as it is known. */
export async function benchScale(
  services: number,
  only: string,
  print: (figure: ScaleFigure) => void,
): Promise<ScaleFigure[]> {
  const cluster = clusterOf(services);
  const figures: ScaleFigure[] = [];
  const few = 4;
  const feeds: [string, number, (node: Node) => Feed | Promise<Feed>][] = [
    ['API server', 400, (node) => serverFeed(node, cluster)],
    ['a file a service', 200, (node) => folderFeed(node, cluster, services)],
    [`${few} large files`, 20, (node) => folderFeed(node, cluster, few)],
  ];
  for (const [name, changes, open] of feeds) {
    if (!name.includes(only)) continue;
    await using world = await World.create();
    const node = world.node('node-a', 1);
    await using feed = await open(node);
    const tell: Run['tell'] = (what, value, unit, target) => {
      const figure = { feed: name, what, value: Math.round(value * 100) / 100, unit, target };
      figures.push(figure);
      print(figure);
    };
    await measure({ node, cluster, feed, changes, tell });
  }
  return figures;
}

async function measure(run: Run): Promise<void> {
  const first = new AgentProcess(run.node, nodeName(0), run.feed.flags);
  try {
    await start(run, first);
    await sleep(3000);
    await change(run, first);
    await repeat(run, first);
    await idle(run, first);
  } finally {
    await first.stop();
  }
  const second = new AgentProcess(run.node, nodeName(0), run.feed.flags);
  try {
    const { ms, changed } = await second.synced();
    run.tell('restart onto intact pins, to synced', ms, 'ms', 3000);
    run.tell('entries written by a restart', changed, '', 0);
    await sleep(3000);
    run.tell('resident after a restart', second.memory().now, 'MiB', 400);
  } finally {
    await second.stop();
  }
}

async function start({ node, cluster, tell }: Run, agent: AgentProcess): Promise<void> {
  const entries = await glances(node, cluster.services - 1, agent.started);
  const { ms } = await agent.synced();
  tell('cold start, to the first map entry', entries.first, 'ms');
  tell('cold start, to the last map entry', entries.last, 'ms', 5000);
  tell('cold start, to synced', ms, 'ms');
  await sleep(3000);
  using frontends = openTable(node.bpfRoot, MAPS.weir_frontends);
  const written = [...frontends.rawEntries()].length;
  if (written !== frontendsOf(cluster)) throw new Error(`${written} frontends instead of ${frontendsOf(cluster)}`);
  const segments = readdirSync(node.bpfRoot).filter((name) => /^weir_slots_\d+$/.test(name)).length;
  tell('slots arena', (segments * SEGMENT.valueSize * SEGMENT.maxEntries) / 2 ** 20, 'MiB', 64);
  const { now, peak } = agent.memory();
  tell('resident after the cold start', now, 'MiB', 400);
  tell('resident at the most', peak, 'MiB');
  tell('processor time of the cold start', agent.cpu(), 'ms');
}

/** ms from the start to the first name and to the last service's frontend. */
async function glances(node: Node, last: number, started: number): Promise<{ first: number; last: number }> {
  using names = await opened(() => openTable(node.bpfRoot, MAPS.weir_names));
  while (!names.get(1)) await sleep(GLANCE);
  const first = Date.now() - started;
  using frontends = openTable(node.bpfRoot, MAPS.weir_frontends);
  while (!frontends.get(frontendKey(last))) await sleep(GLANCE);
  return { first, last: Date.now() - started };
}

async function opened<T>(open: () => T): Promise<T> {
  for (const end = monotonic() + PATIENCE; ;) {
    try {
      return open();
    } catch (error) {
      if (monotonic() > end) throw error;
    }
    await sleep(GLANCE);
  }
}

/** One slice loses an endpoint, or gets it back: from the event to the frontend's changed entry. */
async function change({ node, cluster, feed, changes, tell }: Run, agent: AgentProcess): Promise<void> {
  using frontends = openTable(node.bpfRoot, MAPS.weir_frontends);
  const times: number[] = [];
  const before = agent.cpu();
  for (let i = 0; i < changes; i++) {
    const service = (Math.floor(i / 2) * 7919) % cluster.services;
    const count = i % 2 === 0 ? ENDPOINTS - 1 : ENDPOINTS;
    const at = await feed.change(service, count);
    while (backends(frontends, service) !== count && monotonic() - at < PATIENCE) pause(0.1);
    times.push(monotonic() - at);
    await sleep(20);
  }
  const cpu = agent.cpu() - before;
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  const isWatch = feed.flags.includes('--kubeconfig');
  const debounced = isWatch ? '' : ', 25 ms of it waiting';
  tell(`one change to the changed map, median${debounced}`, at(0.5), 'ms', isWatch ? 5 : 30);
  tell(`one change to the changed map, 99th percentile${debounced}`, at(0.99), 'ms', isWatch ? 20 : 45);
  tell('processor time of one change', cpu / changes, 'ms');
}

/** Objects that say the same again must not reach the kernel. */
async function repeat({ node, cluster, feed, tell }: Run, agent: AgentProcess): Promise<void> {
  const generation = (): bigint => {
    using config = openTable(node.bpfRoot, MAPS.weir_config);
    return config.get(0)?.generation ?? 0n;
  };
  await sleep(3000);
  const count = cluster.services / 4;
  const [was, cpu] = [generation(), agent.cpu()];
  await feed.repeat(count);
  await sleep(2000);
  tell('changes made by unchanged objects', Number(generation() - was), '', 0);
  tell('processor time of an unchanged object', (agent.cpu() - cpu) / count, 'ms');
}

async function idle({ tell }: Run, agent: AgentProcess): Promise<void> {
  const before = agent.cpu();
  await sleep(IDLE_MS);
  tell('idle, of one core', (100 * (agent.cpu() - before)) / IDLE_MS, '%', 1);
  tell('resident at the end', agent.memory().now, 'MiB', 400);
}

function frontendKey(service: number): FrontendKey {
  return { address: clusterIp(service) as Ip, port: 80, protocol: 6 };
}

function backends(frontends: Table<FrontendKey, Frontend>, service: number): number {
  return frontends.get(frontendKey(service))?.inside.backends ?? 0;
}

/** Sleeps without a turn of the event loop, whose timers are too coarse. */
function pause(ms: number): void {
  Atomics.wait(NEVER, 0, 0, ms);
}
const NEVER = new Int32Array(new SharedArrayBuffer(4));
