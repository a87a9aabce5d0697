/** Address blocks within one another, as ranges that do not overlap: what an interval set of nftables takes. */
import { familyOf, type Family, type Ip, ipBytes, ipFromBytes, parsePrefix } from '../core/net.js';
import type { ClassName } from '../core/policy/state.js';

/** Both ends are within. IPv4 addresses count as ::ffff:a.b.c.d. */
export interface Range {
  readonly first: bigint;
  readonly last: bigint;
  readonly name: ClassName;
}

export interface Blocks {
  /** By address. */
  readonly hosts: ReadonlyMap<Ip, ClassName>;
  /** In order. */
  readonly ranges: Readonly<Record<Family, readonly Range[]>>;
}

interface Block extends Range {
  readonly bits: number;
}

/** Rows of a PolicyState's classes: single addresses apart, of the others the longest prefix in force at each point. */
export function blocksOf(classes: ReadonlyMap<string, ClassName>): Blocks {
  const hosts = new Map<Ip, ClassName>();
  const blocks: Record<Family, Block[]> = { v4: [], v6: [] };
  for (const [text, name] of classes) {
    const prefix = parsePrefix(text);
    if (!prefix) throw new TypeError(`not a prefix: ${text}`);
    const { address, bits } = prefix;
    const family = familyOf(address);
    const width = family === 'v4' ? 32 : 128;
    if (bits === width) hosts.set(address, name);
    else {
      const first = numberOf(address);
      blocks[family].push({ first, last: first + (1n << BigInt(width - bits)) - 1n, name, bits });
    }
  }
  return { hosts, ranges: { v4: flattened(blocks.v4), v6: flattened(blocks.v6) } };
}

function flattened(blocks: Block[]): Range[] {
  blocks.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : a.bits - b.bits));
  const ranges: Range[] = [];
  const open: Block[] = [];
  let next = 0n;
  const upTo = (last: bigint): void => {
    const inner = open.at(-1);
    if (inner && next <= last) ranges.push({ first: next, last, name: inner.name });
    next = last + 1n;
  };
  const closeBefore = (first: bigint): void => {
    for (let inner = open.at(-1); inner && inner.last < first; inner = open.at(-1)) {
      upTo(inner.last);
      open.pop();
    }
  };
  for (const block of blocks) {
    closeBefore(block.first);
    upTo(block.first - 1n);
    open.push(block);
  }
  closeBefore(1n << 128n);
  return ranges;
}

/** The range that an address is in. */
export function rangeOf(ranges: readonly Range[], ip: Ip): Range | undefined {
  const number = numberOf(ip);
  let [low, high] = [0, ranges.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[middle]!.last < number) low = middle + 1;
    else high = middle;
  }
  const found = ranges[low];
  return found && found.first <= number ? found : undefined;
}

/** `first-last`, as nftables writes ranges. */
export function rangeText({ first, last }: Pick<Range, 'first' | 'last'>): string {
  return `${addressOf(first)}-${addressOf(last)}`;
}

/** The range of a prefix, likewise. */
export function prefixRange(address: Ip, bits: number): string {
  const first = numberOf(address);
  const width = familyOf(address) === 'v4' ? 32 : 128;
  return rangeText({ first, last: first + (1n << BigInt(width - bits)) - 1n });
}

function numberOf(ip: Ip): bigint {
  return BigInt(`0x${Buffer.from(ipBytes(ip)).toString('hex')}`);
}

function addressOf(number: bigint): Ip {
  return ipFromBytes(Buffer.from(number.toString(16).padStart(32, '0'), 'hex'));
}
