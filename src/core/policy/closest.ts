/** The rule that comes closest to allowing what was denied, told from the entries of a set alone: no object is asked. */
import { PROTOCOLS, type Protocol } from '../net.js';
import type { PortRule } from './bundle.js';
import { ANYONE_ID } from './installed.js';
import type { NearMiss } from './nearest.js';
import { type PortRange, rangesText } from './reach.js';
import type { Direction } from './state.js';

/** An entry of a set, with the number of the class that it is for. */
export interface ClassRule extends PortRule {
  readonly class: number;
}

/** What was denied. */
export interface Denied {
  readonly direction: Direction;
  /** Of the peer, ANYONE_ID: none. */
  readonly class: number;
  /** In capitals, also one that no rule can name. */
  readonly protocol: string;
  readonly port: number;
}

/** How far a rule is from a match: another port, another protocol, other peers, and both the latter. */
const PORT = 1;
const PROTOCOL = 2;
const PEERS = 4;

/** The first of the nearest rules by name; undefined where the set has none. Ports are numbers here, whatever the object calls them. */
export function closestRule(rules: Iterable<ClassRule>, denied: Denied): NearMiss | undefined {
  let best: { rule: string; lacks: string[]; distance: number } | undefined;
  for (const [rule, entries] of [...byRule(rules)].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const { lacks, distance } = lackOf(entries, denied);
    if (!best || distance < best.distance) best = { rule, lacks, distance };
  }
  return best && { rule: best.rule, lacks: best.lacks };
}

/** By `ns/name ingress[0]`. */
export function byRule(rules: Iterable<ClassRule>): Map<string, ClassRule[]> {
  const found = new Map<string, ClassRule[]>();
  for (const entry of rules) {
    const name = entry.rule.replace(/^NetworkPolicy /, '');
    const list = found.get(name);
    if (list) list.push(entry);
    else found.set(name, [entry]);
  }
  return found;
}

/** `tcp/80, tcp/8000-8010`: all ports of the entries, whoever they are for. */
export function portsOf(entries: readonly PortRule[]): string {
  const ranges = PROTOCOLS.flatMap((protocol) => {
    const parts = entries.filter((entry) => entry.protocol === 'any' || entry.protocol === protocol);
    return joined(parts.map((entry) => rangeOf(protocol, entry)));
  });
  return rangesText(ranges);
}

function lackOf(entries: readonly ClassRule[], denied: Denied): { lacks: string[]; distance: number } {
  const mine = entries.filter((entry) => entry.class === denied.class || entry.class === ANYONE_ID);
  if (mine.some((entry) => covers(entry, denied))) return { lacks: ['allows it now'], distance: 0 };
  const others = denied.direction === 'ingress' ? 'from other peers' : 'to other peers';
  const peers = mine.length === 0;
  const reached = peers ? entries : mine;
  if (reached.some((entry) => covers(entry, denied)))
    return { lacks: [`allows ${portsOf(reached)} ${others}`], distance: PEERS };
  const same = reached.some(({ protocol }) => protocol === denied.protocol);
  const protocol = denied.protocol.toLowerCase();
  const wanted = !PROTOCOLS.includes(denied.protocol as Protocol)
    ? protocol
    : same
      ? `${denied.port}`
      : `${protocol}/${denied.port}`;
  return {
    lacks: [`allows ${portsOf(reached)}${peers ? ` ${others}` : ''}, not ${wanted}`],
    distance: (same ? PORT : PROTOCOL) + (peers ? PEERS : 0),
  };
}

function covers({ protocol, port, bits }: PortRule, denied: Denied): boolean {
  if (protocol !== 'any' && protocol !== denied.protocol) return false;
  return bits === 0 || denied.port >> (16 - bits) === port >> (16 - bits);
}

function rangeOf(protocol: Protocol, { port, bits }: PortRule): PortRange {
  return { protocol, first: Math.max(1, port), last: port + (1 << (16 - bits)) - 1 };
}

/** Neighbours and overlapping ranges become one. */
function joined(ranges: readonly PortRange[]): PortRange[] {
  const found: PortRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.first - b.first)) {
    const before = found.at(-1);
    if (before && range.first <= before.last + 1)
      found[found.length - 1] = { ...before, last: Math.max(before.last, range.last) };
    else found.push(range);
  }
  return found;
}
