/**
 * The chains of one policy set. Their names end in a digest of what they hold, so that a name says all, also to the next agent:
 *
 *   in_SET_x     begins: what anyone may; then by the peer's address, single ones before blocks, to
 *   ports_SET_x  what a group of peers may, all others to
 *   deny_SET_x   which counts, records, and drops or rejects; that of an audited set returns
 *
 * To return is to allow.
 */
import { createHash } from 'node:crypto';
import type { Family } from '../core/net.js';
import { ANYONE, type ClassName, type PolicyEntry, type PolicySet } from '../core/policy/state.js';
import { type Blocks, type Range, rangeOf, rangeText } from './policy-blocks.js';
import { portLines } from './policy-ports.js';

/** An audited set tells what it would deny. */
export type Mode = 'enforce' | 'audit';

export interface Program {
  readonly entry: string;
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** Members by the name of the set of nftables: addresses, or ranges where the name begins with `blocks`. */
  readonly members: ReadonlyMap<string, readonly string[]>;
}

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
    if (!targets.has(group)) targets.set(group, add('ports', [...portLines(entries, 'return'), `goto ${deny}`]));
  const prefix = `${short}_${id}`;
  const members = membersOf(prefix, (peer) => groups.get(peer)?.group, blocks);
  const anyone = portLines(
    set.entries.filter((entry) => entry.class === ANYONE),
    'return',
  );
  const peer = direction === 'ingress' ? 'original' : 'reply';
  const matches = [...members.keys()].map((table) => {
    const family = /^[a-z]+4/.test(table) ? 'ip' : 'ip6';
    return `ct ${peer} ${family} saddr @${table} goto ${targets.get(table.slice(table.lastIndexOf('_') + 1))}`;
  });
  const entry = add(short, [...anyone, ...matches, `goto ${deny}`]);
  return { entry, chains, members };
}

/** The group of single addresses within a block that may what they may not. */
const NOBODY = 'nobody';

interface Peers {
  readonly group: string;
  readonly entries: readonly PolicyEntry[];
}

/** Classes that may the same are one group. */
function groupsOf(set: PolicySet): Map<ClassName, Peers> {
  const byClass = new Map<ClassName, PolicyEntry[]>();
  for (const entry of set.entries) {
    if (entry.class === ANYONE) continue;
    const list = byClass.get(entry.class);
    if (list) list.push(entry);
    else byClass.set(entry.class, [entry]);
  }
  const peers = (entries: readonly PolicyEntry[]): Peers => ({
    group: digest(portLines(entries, 'return').join('\n')),
    entries,
  });
  return new Map([...byClass].map(([name, entries]) => [name, peers(entries)]));
}

/** Single addresses come first in the chain. */
function membersOf(
  prefix: string,
  groupOf: (peer: ClassName) => string | undefined,
  { hosts, ranges }: Blocks,
): Map<string, string[]> {
  const single = new Map<string, string[]>();
  const put = (map: Map<string, string[]>, table: string, member: string): void => {
    const list = map.get(table);
    if (list) list.push(member);
    else map.set(table, [member]);
  };
  for (const [ip, name] of hosts) {
    const family: Family = ip.includes(':') ? 'v6' : 'v4';
    const around = rangeOf(ranges[family], ip);
    const group = groupOf(name);
    if (group === (around && groupOf(around.name))) continue; // the block says it
    put(single, `peers${family.slice(1)}_${prefix}_${group ?? NOBODY}`, ip);
  }
  const wide = new Map<string, string[]>();
  for (const family of ['v4', 'v6'] as const) {
    for (const { group, ...range } of joined(ranges[family], groupOf))
      put(wide, `blocks${family.slice(1)}_${prefix}_${group}`, rangeText(range));
  }
  return new Map([...inOrder(single), ...inOrder(wide)]);
}

/** Whatever the order in which addresses came. */
function inOrder(map: ReadonlyMap<string, string[]>): [string, string[]][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

interface GroupRange extends Pick<Range, 'first' | 'last'> {
  readonly group: string;
}

function joined(ranges: readonly Range[], groupOf: (peer: ClassName) => string | undefined): GroupRange[] {
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

function denyLines({ policies, direction, action }: PolicySet, mode: Mode): string[] {
  const counters = labels(policies).map((text, i) => `${i === 0 ? 'counter ' : 'continue '}comment "${text}"`);
  if (mode === 'audit') return [...counters, `jump record_audited_${direction}`];
  const verdicts =
    action === 'drop'
      ? ['drop']
      : ['meta l4proto tcp reject with tcp reset', 'reject with icmpx type admin-prohibited'];
  return [...counters, `jump record_${direction}`, ...verdicts];
}

/** Bytes that a comment of nftables holds. */
const COMMENT = 120;

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
