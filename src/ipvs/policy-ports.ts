/** What a set allows a class of peers, as rules of nftables. Pure. */
import { PROTOCOLS } from '../core/net.js';
import type { PolicyEntry } from '../core/policy/state.js';

type PortEntry = Pick<PolicyEntry, 'protocol' | 'port' | 'bits' | 'rule'>;

/** Bytes that a comment of nftables holds. */
export const COMMENT = 120;

/**
 * Lines that allow, each of one rule of a policy, which its comment names, and of one protocol: the same for the same entries,
 * whatever their order. What has all ports of all protocols comes first, so that a packet reads no further.
 */
export function portLines(entries: readonly PortEntry[]): string[] {
  const byRule = new Map<string, PortEntry[]>();
  for (const entry of entries) {
    const list = byRule.get(entry.rule);
    if (list) list.push(entry);
    else byRule.set(entry.rule, [entry]);
  }
  const all = [...byRule]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([rule, list]) => ({ list, end: `return comment "${ruleComment(rule)}"` }));
  const isOpen = ({ list }: { readonly list: readonly PortEntry[] }): boolean =>
    list.some(({ protocol }) => protocol === 'any');
  return [
    ...all.filter(isOpen).map(({ end }) => end),
    ...all.filter((each) => !isOpen(each)).flatMap(({ list, end }) => matches(list).map((match) => `${match} ${end}`)),
  ];
}

/** `ns/name ingress[0]`; the name is cut where all of it is too long. */
function ruleComment(rule: string): string {
  const [, name = '', place = ''] = /^(?:NetworkPolicy )?(.*?)( [^ ]*)?$/.exec(rule) ?? [];
  return name.slice(0, COMMENT - place.length) + place;
}

/** By protocol. */
function matches(entries: readonly PortEntry[]): string[] {
  return PROTOCOLS.flatMap((protocol) => {
    const ranges = merged(entries.filter((entry) => entry.protocol === protocol).map(rangeOf));
    const l4 = `meta l4proto ${protocol.toLowerCase()}`;
    const [only] = ranges;
    if (!only) return [];
    if (only[0] === 0 && only[1] === 0xffff) return [l4];
    const texts = ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
    /* the port after translation: a reply's source */
    return [`${l4} ct reply proto-src ${texts.length === 1 ? texts[0] : `{ ${texts.join(', ')} }`}`];
  });
}

type PortRange = readonly [first: number, last: number];

function rangeOf({ port, bits }: PortEntry): PortRange {
  const free = 0xffff >> bits;
  return [port & ~free & 0xffff, port | free];
}

function merged(ranges: PortRange[]): PortRange[] {
  const result: [number, number][] = [];
  for (const [first, last] of ranges.sort((a, b) => a[0] - b[0] || b[1] - a[1])) {
    const before = result.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else result.push([first, last]);
  }
  return result;
}
