/** What a set allows a class of peers, as rules of nftables. Pure. */
import { PROTOCOLS } from '../core/net.js';
import type { PolicyEntry } from '../core/policy/state.js';

type PortEntry = Pick<PolicyEntry, 'protocol' | 'port' | 'bits'>;

/** The same lines for the same ports, whatever the entries' order; the verdict stands at the end of each. */
export function portLines(entries: readonly PortEntry[], verdict: string): string[] {
  if (entries.some(({ protocol }) => protocol === 'any')) return [verdict];
  return PROTOCOLS.flatMap((protocol) => {
    const ranges = merged(entries.filter((entry) => entry.protocol === protocol).map(rangeOf));
    const l4 = `meta l4proto ${protocol.toLowerCase()}`;
    const [only] = ranges;
    if (!only) return [];
    if (only[0] === 0 && only[1] === 0xffff) return [`${l4} ${verdict}`];
    const texts = ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
    /* the port after translation: a reply's source */
    return [`${l4} ct reply proto-src ${texts.length === 1 ? texts[0] : `{ ${texts.join(', ')} }`} ${verdict}`];
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
