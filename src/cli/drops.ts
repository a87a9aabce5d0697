/** `weir drops`: what ended here lately, and why. */
import { formatSocket, type Ip, protocolName } from '../core/net.js';
import { type Drop, type DropKey, HOOK, MAPS, REASON_TEXT } from '../maps/layout.js';
import { openTable } from '../maps/table.js';
import { defineCommand, type ExitCode } from './command.js';
import { BPF_ROOT, type Format, OUTPUT } from './common-flags.js';
import { type Context, pause } from './context.js';
import { flag } from './flags.js';
import { readIpvsDrops } from './ipvs-drops.js';
import { printJson, printTable } from './output.js';
import { bool } from './parse.js';

export interface DropRow {
  /** Of the last one. */
  readonly time: string;
  readonly reason: string;
  /** As a pod sees it at its own device, as the node sees it at an uplink. */
  readonly direction: 'ingress' | 'egress';
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  /** The destination's. */
  readonly port: number;
  readonly pod: string;
  readonly policies: readonly string[];
  readonly count: number;
  readonly hook: string;
}

const POLL = 500;
const HEADER = ['TIME', 'COUNT', 'REASON', 'DIRECTION', 'HOOK', 'PROTOCOL', 'SOURCE', 'DESTINATION'];
/** Widths for lines that come one by one. */
const WIDTHS = [24, 7, 17, 9, 8, 8, 15, 0];

export const dropsCommand = defineCommand({
  path: 'drops',
  summary: 'list what was dropped, refused or answered lately, oldest first',
  flags: {
    follow: flag(
      '--follow [BOOL]',
      'go on with what is new, a line each (JSON: an object each)',
      bool,
      'false',
      'true',
    ),
    bpfRoot: BPF_ROOT,
    output: OUTPUT,
  },
  exits: { 0: 'listed', 1: 'nothing is installed, or it cannot be read' },
  run: async ({ bpfRoot, output, follow }, context): Promise<ExitCode> => {
    if (follow) await followDrops(bpfRoot, output, context);
    else if (output === 'json') await printJson(context.stdout, listDrops(bpfRoot, context));
    else await printTable(context.stdout, HEADER, listDrops(bpfRoot, context).map(cells));
    return 0;
  },
});

async function followDrops(root: string, output: Format, context: Context): Promise<void> {
  const seen = new Map<string, number>();
  for (let first = true; !context.signal.aborted; first = false) {
    const rows = listDrops(root, context);
    if (first && output === 'table') context.stdout.write(line(HEADER));
    for (const row of rows) {
      const { reason, hook, source, destination, protocol, port, count } = row;
      const key = [reason, hook, source, destination, protocol, port].join(' ');
      if (seen.get(key) === count) continue;
      seen.set(key, count);
      context.stdout.write(output === 'json' ? `${JSON.stringify(row)}\n` : line(cells(row)));
    }
    await pause(POLL, context.signal);
  }
}

function listDrops(root: string, { now, monotonic }: Context): DropRow[] {
  const [wall, clock] = [now(), monotonic()];
  const recorded = readIpvsDrops(root, wall);
  if (recorded) return recorded;
  using table = openTable(root, MAPS.weir_drops);
  using names = openTable(root, MAPS.weir_names);
  using endpoints = openTable(root, MAPS.weir_endpoints);
  const known: Names = {
    of: (id) => (id === 0 ? '' : (names.get(id)?.text ?? '')),
    pod: (ip) => endpoints.get(ip)?.pod ?? 0,
  };
  const found = [...table.entries()].sort(([, a], [, b]) => (a.last < b.last ? -1 : a.last > b.last ? 1 : 0));
  return found.map(([key, drop]) => dropRow(key, drop, wall - Number((clock - drop.last) / 1_000_000n), known));
}

interface Names {
  /** '' where the number stands for nothing any more. */
  of(id: number): string;
  /** Number of the name of the pod that has the address now, 0: none. */
  pod(ip: Ip): number;
}

function dropRow(key: DropKey, drop: Drop, time: number, names: Names): DropRow {
  const { reason, hook, source, destination, protocol, port } = key;
  const inwards = hook !== HOOK.UP_OUT && hook !== HOOK.POD_IN; // pod_in sees what comes from the pod
  const atPod = hook === HOOK.POD_IN || hook === HOOK.POD_OUT;
  return {
    time: new Date(time).toISOString(),
    reason: REASON_TEXT[reason]?.name ?? `${reason}`,
    direction: inwards ? 'ingress' : 'egress',
    source,
    destination,
    protocol: protocolName(protocol),
    port,
    pod: atPod ? names.of(names.pod(inwards ? destination : source)).replace(/^Pod /, '') : '',
    policies: /^Policies (\S+) /.exec(names.of(drop.rule))?.[1]?.split(',') ?? [],
    count: Number(drop.count),
    hook: HOOKS[hook] ?? `${hook}`,
  };
}

const HOOKS: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(HOOK).map(([name, number]) => [number, name.toLowerCase()]),
);

function cells({ time, count, reason, direction, hook, protocol, source, destination, port }: DropRow): string[] {
  return [time, `${count}`, reason, direction, hook, protocol, source, formatSocket(destination, port)];
}

function line(row: readonly string[]): string {
  return `${row.map((cell, column) => cell.padEnd(WIDTHS[column] ?? 0)).join('  ')}\n`;
}
