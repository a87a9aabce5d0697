/** `weir flow list`: the flows from clients to backends that the kernel remembers. */
import { formatSocket, protocolName } from '../core/net.js';
import { MAPS } from '../maps/layout.js';
import { openTable } from '../maps/table.js';
import { defineCommand, type ExitCode } from './command.js';
import { BPF_ROOT, OUTPUT } from './common-flags.js';
import { type ForwardFlow, forwardFlows } from './flow-table.js';
import { printJson, printTable } from './output.js';
import { ipvsFlowRows } from './ipvs-flows.js';
import { readIpvs } from './ipvs-table.js';
import { labelOf, type Names, readNames } from './service-table.js';
import { flowStateName, formatLabel, forwardingName } from './words.js';

export interface FlowRow {
  readonly client: string;
  readonly frontend: string;
  readonly backend: string;
  readonly protocol: string;
  readonly forwarding: string;
  readonly state: string;
  readonly idleSeconds: number;
  readonly service: string;
}

const HEADER = ['PROTOCOL', 'CLIENT', 'FRONTEND', 'BACKEND', 'FORWARDING', 'STATE', 'IDLE', 'SERVICE'];

export const flowListCommand = defineCommand({
  path: 'flow list',
  summary: 'list the flows from clients to backends, as the kernel has them',
  flags: { bpfRoot: BPF_ROOT, output: OUTPUT },
  exits: { 0: 'listed', 1: 'nothing is installed, or it cannot be read' },
  run: async ({ bpfRoot, output }, { stdout, monotonic }): Promise<ExitCode> => {
    const ipvs = readIpvs(bpfRoot);
    const rows = ipvs ? ipvsFlowRows(ipvs) : listFlows(bpfRoot, monotonic());
    if (output === 'json') await printJson(stdout, rows);
    else await printTable(stdout, HEADER, mapped(rows, cells));
    return 0;
  },
});

function* listFlows(root: string, now: bigint): Generator<FlowRow> {
  const names = readNames(root);
  const idle = idleClock(root, now);
  for (const flow of forwardFlows(root)) yield flowRow(flow, names, idle(flow.flow.seen));
}

/** Seconds since a moment in kernel ticks; 0 where no agent has written down how ticks and time go together. */
function idleClock(root: string, now: bigint): (seen: bigint) => number {
  using table = openTable(root, MAPS.weir_config);
  const config = table.get(0);
  if (!config || config.ticksPerSecond === 0) return () => 0;
  const rate = BigInt(config.ticksPerSecond);
  const ticks = config.ticks + ((now - config.ticksTime) * rate) / 1_000_000_000n;
  return (seen) => (ticks > seen ? Number((ticks - seen) / rate) : 0);
}

function flowRow({ client, frontend, protocol, flow }: ForwardFlow, names: Names, idleSeconds: number): FlowRow {
  return {
    client,
    frontend,
    backend: formatSocket(flow.address, flow.port),
    protocol: protocolName(protocol),
    forwarding: forwardingName(flow.forwarding),
    state: flowStateName(flow.state),
    idleSeconds,
    service: formatLabel(labelOf(names, flow.service)),
  };
}

function cells(row: FlowRow): string[] {
  const { protocol, client, frontend, backend, forwarding, state, idleSeconds, service } = row;
  return [protocol, client, frontend, backend, forwarding, state, `${idleSeconds}s`, service];
}

function* mapped<A, B>(items: Iterable<A>, convert: (item: A) => B): Generator<B> {
  for (const item of items) yield convert(item);
}
