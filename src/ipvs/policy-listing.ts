/** What the table `weir-policy` says of policies: which isolate whom, and which rules allow what. Pure. */
import type { DenyAction } from '../core/model.js';
import { familyOf, type Ip, PROTOCOLS } from '../core/net.js';
import { rowKey } from '../core/plan.js';
import type { ClassRule } from '../core/policy/closest.js';
import { ANYONE_ID } from '../core/policy/installed.js';
import { portPrefixes } from '../core/policy/ports.js';
import { rangeHolds } from './policy-blocks.js';
import type { Expression, ListedRule, PolicyKernel } from './policy-kernel.js';
import type { Members } from './policy-program.js';
import { podOf } from './policy-rows.js';
import type { SUBJECTS } from './policy-table.js';

/** What isolates a pod in one direction. */
export interface ListedProgram {
  /** `ns/name`, sorted. */
  readonly policies: readonly string[];
  readonly action: DenyAction;
  readonly rules: readonly ClassRule[];
  /** The class in `rules` to which an address belongs. */
  classOf(peer: Ip): number;
}

export interface PolicyListing {
  /** Every pod of this node, `ns/name`, by its addresses. */
  readonly pods: ReadonlyMap<Ip, string>;
  /** undefined: nothing isolates it there. */
  program(map: (typeof SUBJECTS)[number], subject: Ip): ListedProgram | undefined;
}

type Chains = ReadonlyMap<string, readonly ListedRule[]>;

export function policyListing({
  listed,
  rows,
  members,
}: Pick<PolicyKernel, 'listed' | 'rows' | 'members'>): PolicyListing {
  const chains = new Map<string, ListedRule[]>();
  for (const { rule } of listed) {
    if (!rule) continue;
    const list = chains.get(rule.chain);
    if (list) list.push(rule);
    else chains.set(rule.chain, [rule]);
  }
  const programs = new Map<string, ListedProgram>();
  const program: PolicyListing['program'] = (map, subject) => {
    const row = rows.get(rowKey({ table: `${map}${familyDigit(subject)}`, key: subject }));
    if (!row) return undefined;
    const entry = row.value.replace(/^jump /, '');
    const found = programs.get(entry) ?? listedProgram(chains, members, entry);
    programs.set(entry, found);
    return found;
  };
  const known = [...rows.values()].filter(({ table }) => /^known[46]$/.test(table));
  return { pods: new Map(known.map((row) => [row.key as Ip, podOf(row)])), program };
}

export function familyDigit(ip: Ip): 4 | 6 {
  return familyOf(ip) === 'v4' ? 4 : 6;
}

/** Chains that allow a group of peers are its class; the one that denies has no rules for anybody. */
function listedProgram(chains: Chains, members: Members, entry: string): ListedProgram {
  const lines = chains.get(entry) ?? [];
  const targets = [...new Set(lines.flatMap((line) => targetOf(line) ?? []))];
  const classes = new Map(targets.filter((name) => !isDenial(name)).map((name, i) => [name, ANYONE_ID + 1 + i]));
  const denial = chains.get(targets.find(isDenial) ?? '') ?? [];
  const own = lines.flatMap((line) => allowed(line, ANYONE_ID));
  const grouped = [...classes].flatMap(([name, peers]) =>
    (chains.get(name) ?? []).flatMap((line) => allowed(line, peers)),
  );
  const sets = lines.flatMap((line) => {
    const [set, target] = [setOf(line), targetOf(line)];
    return set !== undefined && target !== undefined ? [{ set, peers: classes.get(target) ?? ANYONE_ID }] : [];
  });
  const rejects = denial.some(({ expr, comment }) => expr?.some((part) => part.reject) || comment === 'would reject');
  return {
    policies: policiesIn(denial),
    action: rejects ? 'reject' : 'drop',
    rules: [...own, ...grouped],
    classOf: (peer) => sets.find(({ set }) => holds(set, members, peer))?.peers ?? ANYONE_ID,
  };
}

function isDenial(chain: string): boolean {
  return chain.startsWith('deny_');
}

/** Their names are the comments of lines without a verdict, which go on from one to the next. */
function policiesIn(denial: readonly ListedRule[]): string[] {
  const names = denial.map(({ expr, comment = '' }) => (expr?.some(returns) ? '' : comment)).join('');
  return names === '' ? [] : names.split(',');
}

function returns(part: Expression): boolean {
  return 'return' in part;
}

function targetOf({ expr = [] }: ListedRule): string | undefined {
  return expr.find((part) => part.goto)?.goto?.target;
}

function setOf({ expr = [] }: ListedRule): string | undefined {
  const right = expr.find(({ match }) => match?.left.ct)?.match?.right;
  return typeof right === 'string' && right.startsWith('@') ? right.slice(1) : undefined;
}

function holds(set: string, members: Members, peer: Ip): boolean {
  if (!set.startsWith(`peers${familyDigit(peer)}`) && !set.startsWith(`blocks${familyDigit(peer)}`)) return false;
  const list = members.get(set) ?? new Set();
  return set.startsWith('peers') ? list.has(peer) : [...list].some((range) => rangeHolds(range, peer));
}

function allowed({ expr = [], comment }: ListedRule, peers: number): ClassRule[] {
  if (comment === undefined || !expr.some(returns)) return [];
  const l4 = expr.find(({ match }) => match?.left.meta?.key === 'l4proto')?.match?.right;
  const protocol = PROTOCOLS.find((name) => name.toLowerCase() === l4);
  const ports = expr.find(({ match }) => match?.left.ct?.key === 'proto-src')?.match?.right;
  const entry = { class: peers, protocol: protocol ?? ('any' as const), rule: comment };
  const ranges: readonly PortRange[] = ports === undefined ? [[0, 0xffff]] : portRanges(ports);
  return ranges.flatMap(([first, last]) => portPrefixes(first, last).map((prefix) => ({ ...entry, ...prefix })));
}

type PortRange = readonly [first: number, last: number];

/** nft 1.0 says `0x50 [invalid type]` for ports in an anonymous set. */
function portRanges(right: unknown): PortRange[] {
  if (typeof right !== 'object' || right === null) {
    const port = Number.parseInt(`${right as string | number}`);
    return [[port, port]];
  }
  const { set, range } = right as { readonly set?: readonly unknown[]; readonly range?: readonly unknown[] };
  if (range) {
    const [[first], [last]] = range.map((end) => portRanges(end)[0] ?? [0, 0]) as [PortRange, PortRange];
    return [[first, last]];
  }
  return (set ?? []).flatMap(portRanges);
}
