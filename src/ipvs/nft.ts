/** The table `weir` as the kernel has it. */
import type { Row } from '../core/plan.js';
import { toRows } from '../core/plan.js';
import { WeirError } from '../errors.js';
import { type ChainDigests, chainDigests, type ListedChains } from './chains.js';
import { OwnTransactions } from './generations.js';
import { listedText } from './prefixes.js';
import { isLeft, type RecordElement, recordElements } from './records.js';
import { TABLE } from './ruleset.js';
import { runTool } from './tools.js';

/** For who listens to what becomes of tables. */
export const ownTransactions = new OwnTransactions();

/** Changes a table, all or nothing. */
export function applyRuleset(table: string, text: string): void {
  if (text === '') return;
  runTool('nft', ['-f', '-'], text);
  ownTransactions.made(table, Date.now());
}

/** Would the kernel take it? Changes nothing. */
export function accepts(text: string): boolean {
  try {
    runTool('nft', ['--check', '-f', '-'], text);
    return true;
  } catch (error) {
    if (error instanceof WeirError) return false;
    throw error;
  }
}

export function removeTable(table: string): void {
  applyRuleset(table, `delete table ${table}\n`);
}

/** What nft -j tells of a table; undefined where there is none. */
export function readTable(table = TABLE): string | undefined {
  return list(['list', 'table', ...table.split(' ')]);
}

/** The chains of a table, without reading what its sets hold; none where there is no table. */
export function readChains(table: string): ChainDigests {
  const json = list(['--terse', 'list', 'table', ...table.split(' ')]) ?? '{"nftables":[]}';
  return chainDigests((JSON.parse(json) as { nftables: readonly ListedChains[] }).nftables);
}

function list(words: readonly string[]): string | undefined {
  try {
    return runTool('nft', ['-j', ...words]);
  } catch (error) {
    if (error instanceof WeirError && error.message.includes('No such file or directory')) return undefined;
    throw error;
  }
}

export interface Count {
  readonly packets: number;
  readonly bytes: number;
}

/** The sum of the counters of a set's elements; nothing where there is no such set. */
export function readCount(table: string, set: string): Count {
  const json = list(['list', 'set', ...table.split(' '), set]);
  return json === undefined ? NOTHING : parseCount(json);
}

const NOTHING: Count = { packets: 0, bytes: 0 };

export function parseCount(json: string): Count {
  const { nftables } = JSON.parse(json) as { nftables: readonly Listed[] };
  const elements = nftables.flatMap(({ set }) => set?.elem ?? []) as readonly {
    readonly elem: { readonly counter?: Count };
  }[];
  return elements.reduce((sum, { elem: { counter = NOTHING } }) => {
    return { packets: sum.packets + counter.packets, bytes: sum.bytes + counter.bytes };
  }, NOTHING);
}

interface Listed extends ListedChains {
  readonly set?: Container;
  readonly map?: Container;
}

interface Container {
  readonly name: string;
  readonly comment?: string;
  readonly elem?: readonly unknown[];
}

/** The elements of all sets and maps of which an agent decides as rows, the names of the sets, and what packets have left. */
export function parseTable(json: string): {
  readonly rows: Map<string, Row>;
  readonly names: ReadonlySet<string>;
  readonly records: readonly RecordElement[];
  readonly chains: ChainDigests;
} {
  const { nftables } = JSON.parse(json) as { nftables: readonly Listed[] };
  const containers = nftables.flatMap(({ set, map }) => set ?? map ?? []);
  const decided = nftables.filter(({ set }) => !isLeft(set?.name ?? ''));
  const rows = decided.flatMap(({ set, map }) => [
    ...(set?.elem ?? []).map((element) => ({ table: set?.name ?? '', key: keyText(element), value: '' })),
    ...(map?.elem ?? []).map((pair) => {
      const [key, value] = pair as [unknown, unknown];
      return { table: map?.name ?? '', key: keyText(key), value: valueText(value) };
    }),
  ]);
  const records = nftables.flatMap(({ set }) => recordElements(set?.name ?? '', set?.elem ?? []));
  const names = new Set(containers.map(({ name }) => name));
  return { rows: toRows(rows), names, records, chains: chainDigests(nftables) };
}

function keyText(element: unknown): string {
  if (typeof element !== 'object' || element === null) return listedText(`${element as string | number}`);
  const { concat, prefix } = element as {
    readonly concat?: readonly unknown[];
    readonly prefix?: { readonly addr: string; readonly len: number };
  };
  if (prefix) return `${listedText(prefix.addr)}/${prefix.len}`;
  return (concat ?? []).map(keyText).join(' . ');
}

/** Marks are numbers, verdicts objects of one key. */
function valueText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return listedText(`${value as string | number}`);
  const [[verb, more] = ['', null]] = Object.entries(value) as [string, { target?: string } | null][];
  return more?.target === undefined ? verb : `${verb} ${more.target}`;
}
