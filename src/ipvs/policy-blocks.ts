/** Address blocks within one another, as ranges that do not overlap: what an interval set of nftables takes. */
import { type Family, familyOf, formatV6, type Ip, ipBytes, parsePrefix, type Prefix, v6Bytes } from '../core/net.js';
import type { ClassName } from '../core/policy/state.js';

/** Both ends are within. IPv4 addresses count as ::ffff:a.b.c.d. */
export interface Range {
  readonly first: bigint;
  readonly last: bigint;
  readonly name: ClassName;
}

/** A single address, and the class of the block around it. */
export interface Host {
  readonly ip: Ip;
  readonly name: ClassName;
  readonly around: ClassName | undefined;
}

interface Block extends Range {
  readonly bits: number;
}

/** The rows of a PolicyState's classes; that one address has changed is told without looking at the others again. */
export class Blocks {
  readonly #rows = new Map<string, ClassName>();
  readonly hosts = new Map<Ip, Host>();
  /** In order. */
  readonly ranges: Record<Family, readonly Range[]> = { v4: [], v6: [] };

  /** What has changed: single addresses, or 'all' where blocks have. */
  follow(classes: ReadonlyMap<string, ClassName>): readonly Ip[] | 'all' {
    const changed: string[] = [];
    for (const [text, name] of classes) if (this.#rows.get(text) !== name) changed.push(text);
    const gone = [...this.#rows.keys()].filter((text) => !classes.has(text));
    for (const text of gone) this.#rows.delete(text);
    for (const text of changed) this.#rows.set(text, classes.get(text)!);
    const prefixes = [...changed, ...gone].map(prefixOf);
    if (prefixes.every(isHost)) {
      for (const { address } of prefixes) this.#place(address);
      return prefixes.map(({ address }) => address);
    }
    this.#flatten();
    return 'all';
  }

  #flatten(): void {
    const blocks: Record<Family, Block[]> = { v4: [], v6: [] };
    const hosts: Ip[] = [];
    for (const [text, name] of this.#rows) {
      const prefix = prefixOf(text);
      const { address, bits } = prefix;
      if (isHost(prefix)) hosts.push(address);
      else blocks[familyOf(address)].push({ ...boundsOf(prefix), name, bits });
    }
    for (const family of ['v4', 'v6'] as const) this.ranges[family] = flattened(blocks[family]);
    this.hosts.clear();
    for (const ip of hosts) this.#place(ip);
  }

  #place(ip: Ip): void {
    const name = this.#rows.get(`${ip}/${widthOf(ip)}`);
    if (name === undefined) this.hosts.delete(ip);
    else this.hosts.set(ip, { ip, name, around: rangeAround(this.ranges[familyOf(ip)], ip)?.name });
  }
}

function prefixOf(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (!prefix) throw new TypeError(`not a prefix: ${text}`);
  return prefix;
}

function widthOf(ip: Ip): number {
  return familyOf(ip) === 'v4' ? 32 : 128;
}

function isHost({ address, bits }: Prefix): boolean {
  return bits === widthOf(address);
}

function boundsOf({ address, bits }: Prefix): Pick<Range, 'first' | 'last'> {
  const first = numberOf(address);
  return { first, last: first + (1n << BigInt(widthOf(address) - bits)) - 1n };
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

function rangeAround(ranges: readonly Range[], ip: Ip): Range | undefined {
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

/** `first-last`, as nftables takes ranges. A block of IPv6 may hold the addresses as which those of IPv4 count. */
export function rangeText({ first, last }: Pick<Range, 'first' | 'last'>, family: Family): string {
  return `${textOf(first, family)}-${textOf(last, family)}`;
}

/** The range of a prefix as nftables lists it, likewise. */
export function listedRange(address: string, bits: number): string {
  const first = numberOf(address);
  const family = address.includes(':') ? 'v6' : 'v4';
  const width = family === 'v4' ? 32 : 128;
  return rangeText({ first, last: first + (1n << BigInt(width - bits)) - 1n }, family);
}

/** Whether a range as nftables takes it holds an address of its family. */
export function rangeHolds(range: string, ip: Ip): boolean {
  const [first = '', last = first] = range.split('-');
  const number = numberOf(ip);
  return numberOf(first) <= number && number <= numberOf(last);
}

function numberOf(address: string): bigint {
  const bytes = address.includes(':') ? v6Bytes(address) : ipBytes(address as Ip);
  return BigInt(`0x${Buffer.from(bytes ?? []).toString('hex')}`);
}

function textOf(number: bigint, family: Family): string {
  const bytes = Buffer.from(number.toString(16).padStart(32, '0'), 'hex');
  return family === 'v6' ? formatV6(bytes) : bytes.subarray(12).join('.');
}
