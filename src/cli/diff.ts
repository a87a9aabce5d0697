/** `weir diff`: what should be in the kernel against what is. Changes nothing. */
import { statSync } from 'node:fs';
import type { Problem } from '../core/model.js';
import type { Write } from '../core/plan.js';
import { formatSocket, type Ip } from '../core/net.js';
import type { Network } from '../core/network.js';
import { readNetwork } from '../host/network.js';
import { listPins } from '../loader/pins.js';
import { queryXdp } from '../loader/xdp.js';
import { KernelTables } from '../maps/kernel-tables.js';
import { decodeBackend, decodeName, MAPS } from '../maps/layout.js';
import { localEndpoints } from '../maps/local-endpoints.js';
import { type NodeEndpoint, NodeTables } from '../maps/node.js';
import { PolicyTables } from '../maps/policy.js';
import { type Change, ServiceTables } from '../maps/services.js';
import { openTable } from '../maps/table.js';
import { STATE_FLAGS, stateOptions, type StateOptions } from './agent-flags.js';
import { defineCommand, type ExitCode } from './command.js';
import { OUTPUT } from './common-flags.js';
import { type Context, send } from './context.js';
import { type Meaning, Describer, type Side } from './describe.js';
import { type DesiredState, desiredState, readObjects } from './desired-state.js';
import { type Difference, differences, formatDifference } from './difference.js';
import { ipvsDifferences } from './ipvs-diff.js';
import { printJson } from './output.js';
import { modeOf } from '../agent/installed.js';
import { xdpDevices } from '../agent/removal.js';
import { runningAgentFlags } from './running-agent.js';
import { openSource } from './source.js';

export const diffCommand = defineCommand({
  path: 'diff',
  summary: "compare what should be in the kernel with what is; flags that are not given are the running agent's",
  flags: { ...STATE_FLAGS, output: OUTPUT },
  exits: { 0: 'they agree', 1: 'they differ, or it cannot be told' },
  run: async (values, context, given): Promise<ExitCode> => {
    const known = Object.entries(runningAgentFlags(values.bpfRoot)).filter(([key]) => !given.has(key));
    const dataplane = given.has('dataplane') ? values.dataplane : (modeOf(values.bpfRoot) ?? values.dataplane);
    const options = stateOptions({ ...values, ...Object.fromEntries(known), dataplane }, context);
    const found = await compare(options, context);
    if (values.output === 'json') await printJson(context.stdout, found);
    else await send(context.stdout, found.map(formatDifference).join(''));
    return found.length === 0 ? 0 : 1;
  },
});

async function compare(options: StateOptions, context: Context): Promise<Difference[]> {
  if (options.dataplane === 'ipvs') return ipvsDifferences(options, context);
  using tables = new KernelTables(options.bpfRoot, 'read');
  const warn = (message: string): void => void context.stderr.write(`weir: warning: ${message}\n`);
  const report = ({ object, field, message }: Problem): void => warn(`${object}: ${field}: ${message}`);
  if (!isHere(options.bpfRoot))
    warn('the agent works in another network namespace: devices and node ports will differ');
  const store = await readObjects(openSource(options), report, context.signal);
  const network = await readNetwork();
  const devices = options.devices.length > 0 ? options.devices : knownUplinks(options.bpfRoot, network);
  const state = desiredState(store, { ...options, devices }, network, nativeXdp(options.bpfRoot));
  state.problems.forEach(report);
  const services = new ServiceTables(tables, { drain: DRAIN, clock: () => 0 });
  const change = services.prepare(state.services, goneFrom(services, state));
  const policy = new PolicyTables(tables, () => 0).preview(state.policy, state.own);
  const endpoints = new Map<Ip, NodeEndpoint>([...change.next.values()].flatMap((rows) => [...localEndpoints(rows)]));
  for (const [ip, sets] of policy.endpoints)
    endpoints.set(ip, { host: endpoints.get(ip)?.host ?? false, policy: sets });
  const node = new NodeTables(tables).prepare(state.node(endpoints));
  const writes = [...change.writes, ...policy.writes, ...node];
  return differences(writes, new Describer(meanings(tables, change, writes), network.links));
}

/** What is kept for its flows is no difference, however long ago its service let go of it. */
const DRAIN = Number.MAX_SAFE_INTEGER;

function goneFrom(services: ServiceTables, state: DesiredState): string[] {
  const wanted = new Set(state.services.map((service) => service.key));
  return services.services().filter((key) => !wanted.has(key));
}

/** The network namespace of the last agent, where one has written it down. */
function isHere(root: string): boolean {
  using table = openTable(root, MAPS.weir_config);
  const netns = table.get(0)?.netns ?? 0n;
  return netns === 0n || netns === BigInt(statSync('/proc/self/ns/net').ino);
}

/** A dead agent's choice of devices is in its tables. */
function knownUplinks(root: string, network: Network): string[] {
  using table = openTable(root, MAPS.weir_uplinks);
  const used = new Set([...table.entries()].map(([, uplink]) => uplink.ifindex));
  return network.links.filter((link) => used.has(link.ifindex)).map((link) => link.name);
}

function nativeXdp(root: string): Set<number> {
  return new Set(xdpDevices(listPins(root)).filter((ifindex) => queryXdp(ifindex) === 'native'));
}

/** What numbers mean in the kernel, and what they would mean after the change. */
function meanings(tables: KernelTables, change: Change, writes: readonly Write[]): Record<Side, Meaning> {
  const names = new Map([...tables.read('weir_names')].map(({ key, value }) => [number(key), nameOf(value)]));
  const backends = new Map([...tables.read('weir_backends')].map(({ key, value }) => [number(key), backendOf(value)]));
  const read = (chunk: number, count: number): Uint32Array | undefined => {
    try {
      return tables.arena.read(chunk, count);
    } catch {
      return undefined; // outside the arena
    }
  };
  const have: Meaning = { names: new Map(names), backends: new Map(backends), words: read };
  for (const { op, row } of writes) {
    if (op === 'put' && row.table === 'weir_names') names.set(number(row.key), nameOf(row.value));
    if (op === 'put' && row.table === 'weir_backends') backends.set(number(row.key), backendOf(row.value));
  }
  return { have, want: { names, backends, words: (chunk, count) => change.fresh.get(chunk) ?? read(chunk, count) } };
}

function number(key: string): number {
  return Buffer.from(key, 'latin1').readUInt32LE(0);
}

function nameOf(value: string): string {
  return decodeName(Buffer.from(value, 'latin1')).text;
}

function backendOf(value: string): string {
  const { address, port } = decodeBackend(Buffer.from(value, 'latin1'));
  return formatSocket(address, port);
}
