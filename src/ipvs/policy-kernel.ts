/** The table `weir-policy` as the kernel has it. */
import { type Row, toRows } from '../core/plan.js';
import { chainDigests } from './chains.js';
import { readTable } from './nft.js';
import { listedRange } from './policy-blocks.js';
import { isPeerSet } from './policy-rows.js';
import { TABLE } from './policy-table.js';
import { isOwnRow, type PolicyHeld } from './policy-text.js';
import { listedText } from './prefixes.js';

export interface PolicyKernel extends PolicyHeld {
  /** Which fixed part the table has; '' where there is no table. */
  readonly version: string;
  readonly listed: readonly Listed[];
}

export interface Listed {
  readonly set?: Container;
  readonly map?: Container;
  readonly chain?: { readonly name: string };
  readonly rule?: ListedRule;
}

export interface ListedRule {
  readonly chain: string;
  readonly comment?: string;
  readonly expr?: readonly Expression[];
}

/** Verdicts without a target are keys whose value is null. */
export interface Expression {
  readonly match?: {
    readonly left: {
      readonly meta?: { readonly key: string };
      readonly ct?: { readonly key: string; readonly dir?: string };
    };
    readonly right: unknown;
  };
  readonly goto?: { readonly target: string };
  readonly return?: null;
  readonly reject?: object | null;
}

interface Container {
  readonly name: string;
  readonly elem?: readonly unknown[];
}

const NOTHING: PolicyKernel = {
  ...{ version: '', chains: new Map(), members: new Map(), rows: new Map(), listed: [] },
};

/** Looks, and changes nothing. */
export function readPolicyTable(table = TABLE): PolicyKernel {
  const json = readTable(table);
  return json === undefined ? NOTHING : parsePolicyTable(json);
}

export function parsePolicyTable(json: string): PolicyKernel {
  const { nftables: listed } = JSON.parse(json) as { nftables: readonly Listed[] };
  const containers = listed.flatMap(({ set, map }) => set ?? map ?? []);
  const names = containers.map(({ name }) => name);
  const peers = containers.filter(({ name }) => isPeerSet(name));
  const rows = containers
    .filter(({ name }) => !isPeerSet(name))
    .flatMap(({ name, elem = [] }) => elem.map((element) => rowOf(name, element)))
    .filter(isOwnRow);
  return {
    version: names.find((name) => name.startsWith('version_')) ?? '',
    chains: chainDigests(listed),
    members: new Map(peers.map(({ name, elem = [] }) => [name, new Set(elem.map((one) => rowOf(name, one).key))])),
    rows: toRows(rows),
    listed,
  };
}

/** Elements of maps are pairs; those with a comment are wrapped. */
function rowOf(table: string, element: unknown): Row {
  if (!Array.isArray(element)) {
    const { elem } = element as { readonly elem?: { readonly val: unknown; readonly comment?: string } };
    if (!elem) return { table, key: keyText(element, table), value: '' };
    const { val, comment } = elem;
    return { table, key: keyText(val, table), value: comment === undefined ? '' : `comment "${comment}"` };
  }
  const [key, verdict] = element as [unknown, Readonly<Record<string, { readonly target?: string } | null>>];
  const [[verb, more] = ['', null]] = Object.entries(verdict);
  return { table, key: keyText(key, table), value: more?.target === undefined ? verb : `${verb} ${more.target}` };
}

function keyText(element: unknown, table: string): string {
  if (typeof element !== 'object' || element === null) {
    const text = listedText(String(element));
    return table.startsWith('blocks') ? `${text}-${text}` : text;
  }
  const { concat, prefix, range } = element as {
    readonly concat?: readonly unknown[];
    readonly prefix?: { readonly addr: string; readonly len: number };
    readonly range?: readonly string[];
  };
  if (prefix) return listedRange(prefix.addr, prefix.len);
  if (range) return range.map(listedText).join('-');
  return (concat ?? []).map((part) => keyText(part, '')).join(' . ');
}
