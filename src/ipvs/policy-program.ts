/**
 * The chains of one policy set. Their names end in a digest of what they hold, so that a name says all, also to the next agent:
 *
 *   in_SET_x     begins: what anyone may; then by the peer's address, single ones before blocks, to
 *   ports_SET_x  what a group of peers may, all others to
 *   deny_SET_x   which counts, records, and drops or rejects; that of an audited set returns
 *
 * To return is to allow; comments of lines that return name the rules that allow.
 */
import { createHash } from 'node:crypto';
import type { Ip } from '../core/net.js';
import { ANYONE, type ClassName, type PolicyEntry, type PolicySet } from '../core/policy/state.js';
import { type Blocks, type Host, type Range, rangeText } from './policy-blocks.js';
import { COMMENT, portLines } from './policy-ports.js';

/** An audited set tells what it would deny. */
export type Mode = 'enforce' | 'audit';

export interface Program {
  readonly entry: string;
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** By the name of the set of nftables: addresses, or ranges where the name begins with `blocks`. No set is empty. */
  readonly members: Members;
  /** The set in which a single address belongs; undefined: in none. */
  home(host: Host): string | undefined;
}

export type Members = ReadonlyMap<string, ReadonlySet<string>>;

/** Compiles a set for the peers that there are. */
export function programOf(name: string, set: PolicySet, mode: Mode, blocks: Blocks): Program {
  const { direction } = set;
  const short = `${direction === 'ingress' ? 'in' : 'out'}${mode === 'audit' ? '_audit' : ''}`;
  const id = digest(name);
  const chains = new Map<string, readonly string[]>();
  const add = (kind: string, lines: readonly string[]): string => {
    const chain = `${kind}_${id}_${digest(lines.join('\n'))}`;
    chains.set(chain, lines);
    return chain;
  };
  const deny = add(`deny_${short}`, denyLines(set, mode));
  const groups = groupsOf(set);
  const targets = new Map<string, string>([[NOBODY, deny]]);
  for (const { group, entries } of groups.values())
    if (!targets.has(group)) targets.set(group, add('ports', [...portLines(entries), `goto ${deny}`]));
  const prefix = `${short}_${id}`;
  const groupOf = (peer: ClassName): string | undefined => groups.get(peer)?.group;
  const home = (host: Host): string | undefined => homeOf(prefix, groupOf, host);
  const members = membersOf(prefix, groupOf, home, blocks);
  const anyone = portLines(set.entries.filter((entry) => entry.class === ANYONE));
  const peer = direction === 'ingress' ? 'original' : 'reply';
  const matches = [...members.keys()].map((table) => {
    const family = /^[a-z]+4/.test(table) ? 'ip' : 'ip6';
    return `ct ${peer} ${family} saddr @${table} goto ${targets.get(table.slice(table.lastIndexOf('_') + 1))}`;
  });
  const entry = add(short, [...anyone, ...matches, `goto ${deny}`]);
  return { entry, chains, members, home };
}

/** The group of single addresses within a block that may what they may not. */
const NOBODY = 'nobody';

interface Peers {
  readonly group: string;
  readonly entries: readonly PolicyEntry[];
}

/** Classes that may the same by the same rules are one group. */
function groupsOf(set: PolicySet): Map<ClassName, Peers> {
  const byClass = new Map<ClassName, PolicyEntry[]>();
  for (const entry of set.entries) {
    if (entry.class === ANYONE) continue;
    const list = byClass.get(entry.class);
    if (list) list.push(entry);
    else byClass.set(entry.class, [entry]);
  }
  const peers = (entries: readonly PolicyEntry[]): Peers => ({
    group: digest(portLines(entries).join('\n')),
    entries,
  });
  return new Map([...byClass].map(([name, entries]) => [name, peers(entries)]));
}

type GroupOf = (peer: ClassName) => string | undefined;

function homeOf(prefix: string, groupOf: GroupOf, { ip, name, around }: Host): string | undefined {
  const group = groupOf(name);
  if (group === (around === undefined ? undefined : groupOf(around))) return undefined; // the block says it
  return `peers${ip.includes(':') ? 6 : 4}_${prefix}_${group ?? NOBODY}`;
}

/** Single addresses come first in the chain. */
function membersOf(prefix: string, groupOf: GroupOf, home: Program['home'], blocks: Blocks): Members {
  const single = new Map<string, Set<string>>();
  const wide = new Map<string, Set<string>>();
  for (const host of blocks.hosts.values()) put(single, home(host), host.ip);
  for (const family of ['v4', 'v6'] as const) {
    for (const { group, ...range } of joined(blocks.ranges[family], groupOf))
      put(wide, `blocks${family.slice(1)}_${prefix}_${group}`, rangeText(range, family));
  }
  return new Map([...inOrder(single), ...inOrder(wide)]);
}

function put(map: Map<string, Set<string>>, table: string | undefined, member: string): void {
  if (table === undefined) return;
  const set = map.get(table);
  if (set) set.add(member);
  else map.set(table, new Set([member]));
}

/** The same program after some addresses have changed; undefined where its chains must change too. */
export function moved(program: Program, blocks: Blocks, changed: readonly Ip[]): Program | undefined {
  const fresh = new Map<string, Set<string>>();
  const writable = (table: string): Set<string> | undefined => {
    const known = fresh.get(table) ?? program.members.get(table);
    if (!known) return undefined;
    const copy = fresh.get(table) ?? new Set(known);
    fresh.set(table, copy);
    return copy;
  };
  const singles = [...program.members.keys()].filter((table) => table.startsWith('peers'));
  for (const ip of changed) {
    const host = blocks.hosts.get(ip);
    const home = host && program.home(host);
    for (const table of singles)
      if (table !== home && (fresh.get(table) ?? program.members.get(table))?.has(ip)) writable(table)?.delete(ip);
    if (home === undefined || program.members.get(home)?.has(ip)) continue;
    const set = writable(home);
    if (!set) return undefined;
    set.add(ip);
  }
  if ([...fresh.values()].some((set) => set.size === 0)) return undefined;
  return { ...program, members: new Map([...program.members].map(([table, set]) => [table, fresh.get(table) ?? set])) };
}

/** Whatever the order in which addresses came. */
function inOrder<V>(map: ReadonlyMap<string, V>): [string, V][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

interface GroupRange extends Pick<Range, 'first' | 'last'> {
  readonly group: string;
}

function joined(ranges: readonly Range[], groupOf: GroupOf): GroupRange[] {
  const result: GroupRange[] = [];
  for (const { first, last, name } of ranges) {
    const group = groupOf(name);
    if (group === undefined) continue;
    const before = result.at(-1);
    if (before?.group === group && before.last + 1n === first) result[result.length - 1] = { ...before, last };
    else result.push({ group, first, last });
  }
  return result;
}

/** Of an audited set: nothing else tells what it would do. */
const WOULD_REJECT = 'return comment "would reject"';

/** A reset would have the numbers of the connection, allowed or not, that a packet only resembles. */
const INVALID = 'ct state invalid drop';

function denyLines({ policies, direction, action }: PolicySet, mode: Mode): string[] {
  const counters = labels(policies).map((text, i) => `${i === 0 ? 'counter ' : 'continue '}comment "${text}"`);
  if (mode === 'audit')
    return [...counters, `jump record_audited_${direction}`, ...(action === 'reject' ? [WOULD_REJECT] : [])];
  const verdicts =
    action === 'drop'
      ? ['drop']
      : [INVALID, 'meta l4proto tcp reject with tcp reset', 'reject with icmpx type admin-prohibited'];
  return [...counters, `jump record_${direction}`, ...verdicts];
}

/** The policies' names, joined by commas and cut to what comments hold. */
function labels(policies: readonly string[]): string[] {
  const text = policies.join(',');
  return Array.from({ length: Math.max(1, Math.ceil(text.length / COMMENT)) }, (_, i) =>
    text.slice(i * COMMENT, (i + 1) * COMMENT),
  );
}

/** Twelve hexadecimal digits. */
function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
