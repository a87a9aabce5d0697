/** `weir drops`: what ended here lately, and why. */
import { formatSocket, protocolName } from '../core/net.js';
import { type Drop, type DropKey, HOOK, MAPS, REASON_TEXT } from '../maps/layout.js';
import { openTable } from '../maps/table.js';
import { defineCommand, type ExitCode } from './command.js';
import { BPF_ROOT, type Format, OUTPUT } from './common-flags.js';
import { type Context, pause } from './context.js';
import { type Cause, causesOf } from './drop-causes.js';
import { flag } from './flags.js';
import { readIpvsDrops } from './ipvs-drops.js';
import { printJson, printTable } from './output.js';
import { bool } from './parse.js';

/** The names in `Cause` stand beside the addresses. */
export interface DropRow extends Cause {
  /** Of the last one. */
  readonly time: string;
  readonly reason: string;
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  /** The destination's. */
  readonly port: number;
  readonly count: number;
  readonly hook: string;
}

const POLL = 500;
const HEADER = ['TIME', 'COUNT', 'REASON', 'DIRECTION', 'HOOK', 'PROTOCOL', 'SOURCE', 'DESTINATION', 'POLICIES'];
/** Widths for lines that come one by one. */
const WIDTHS = [24, 7, 17, 9, 8, 8, 30, 30, 0];

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
  const isNew = (what: string, count: number): boolean => {
    if (seen.get(what) === count) return false;
    seen.set(what, count);
    return true;
  };
  for (let first = true; !context.signal.aborted; first = false) {
    const rows = listDrops(root, context, isNew);
    if (first && output === 'table') context.stdout.write(line(HEADER));
    for (const row of rows) context.stdout.write(output === 'json' ? `${JSON.stringify(row)}\n` : line(cells(row)));
    await pause(POLL, context.signal);
  }
}

/** Those that are wanted: only they are explained. */
function listDrops(
  root: string,
  { now, monotonic }: Context,
  wanted: (what: string, count: number) => boolean = () => true,
): DropRow[] {
  const [wall, clock] = [now(), monotonic()];
  const denied = readIpvsDrops(root, wall);
  if (denied)
    return denied.filter(({ reason, direction, source, destination, protocol, port, count }) =>
      wanted([reason, direction, source, destination, protocol, port].join(' '), count),
    );
  using table = openTable(root, MAPS.weir_drops);
  const found = [...table.entries()].filter(([key, { count }]) => wanted(Object.values(key).join(' '), Number(count)));
  found.sort(([, a], [, b]) => (a.last < b.last ? -1 : a.last > b.last ? 1 : 0));
  const causes = causesOf(root, found);
  return found.map(([key, drop], i) => dropRow(key, drop, wall - Number((clock - drop.last) / 1_000_000n), causes[i]!));
}

function dropRow(key: DropKey, { count }: Drop, time: number, cause: Cause): DropRow {
  const { reason, hook, source, destination, protocol, port } = key;
  return {
    time: new Date(time).toISOString(),
    reason: REASON_TEXT[reason]?.name ?? `${reason}`,
    source,
    destination,
    protocol: protocolName(protocol),
    port,
    ...cause,
    count: Number(count),
    hook: HOOKS[hook] ?? `${hook}`,
  };
}

const HOOKS: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(HOOK).map(([name, number]) => [number, name.toLowerCase()]),
);

function cells(row: DropRow): string[] {
  const { time, count, reason, direction, hook, protocol, port } = row;
  const source = withName(row.source, row.sourceName);
  const destination = withName(formatSocket(row.destination, port), row.destinationName);
  return [time, `${count}`, reason, direction, hook, protocol, source, destination, policyText(row)];
}

function withName(address: string, name: string): string {
  return name === '' ? address : `${address} (${name})`;
}

/** `ns/a,ns/b; nearest: ns/a ingress[0] allows tcp/80, not 81` */
function policyText({ policies, nearest }: DropRow): string {
  const rule = nearest && `nearest: ${nearest.rule} ${nearest.lacks.join(', ')}`;
  return [policies.join(), rule].filter(Boolean).join('; ');
}

function line(row: readonly string[]): string {
  return `${row
    .map((cell, column) => cell.padEnd(WIDTHS[column] ?? 0))
    .join('  ')
    .trimEnd()}\n`;
}
