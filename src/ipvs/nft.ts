/** The table `weir` as the kernel has it. */
import type { Row } from '../core/plan.js';
import { toRows } from '../core/plan.js';
import { WeirError } from '../errors.js';
import { runTool } from './tools.js';

/** Applies all or nothing. */
export function applyRuleset(text: string): void {
  if (text !== '') runTool('nft', ['-f', '-'], text);
}

export function removeTable(): void {
  applyRuleset('delete table inet weir\n');
}

/** What nft -j tells of the table `weir`; undefined where there is none. */
export function readTable(): string | undefined {
  try {
    return runTool('nft', ['-j', 'list', 'table', 'inet', 'weir']);
  } catch (error) {
    if (error instanceof WeirError && error.message.includes('No such file or directory')) return undefined;
    throw error;
  }
}

interface Listed {
  readonly set?: Container;
  readonly map?: Container;
}

interface Container {
  readonly name: string;
  readonly comment?: string;
  readonly elem?: readonly unknown[];
}

/** The elements of all sets and maps as rows, and the names of the sets. */
export function parseTable(json: string): { readonly rows: Map<string, Row>; readonly names: ReadonlySet<string> } {
  const { nftables } = JSON.parse(json) as { nftables: readonly Listed[] };
  const containers = nftables.flatMap(({ set, map }) => set ?? map ?? []);
  const rows = nftables.flatMap(({ set, map }) => [
    ...(set?.elem ?? []).map((element) => ({ table: set?.name ?? '', key: keyText(element), value: '' })),
    ...(map?.elem ?? []).map((pair) => {
      const [key, value] = pair as [unknown, unknown];
      return { table: map?.name ?? '', key: keyText(key), value: valueText(value) };
    }),
  ]);
  return { rows: toRows(rows), names: new Set(containers.map(({ name }) => name)) };
}

function keyText(element: unknown): string {
  if (typeof element !== 'object' || element === null) return `${element as string | number}`;
  const { concat, prefix } = element as {
    readonly concat?: readonly unknown[];
    readonly prefix?: { readonly addr: string; readonly len: number };
  };
  if (prefix) return `${prefix.addr}/${prefix.len}`;
  return (concat ?? []).map(keyText).join(' . ');
}

/** Marks are numbers, verdicts objects of one key. */
function valueText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return `${value as string | number}`;
  const [[verb, more] = ['', null]] = Object.entries(value) as [string, { target?: string } | null][];
  return more?.target === undefined ? verb : `${verb} ${more.target}`;
}
