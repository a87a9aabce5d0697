/** Address blocks, cut into regions in which every address is matched by the same blocks. */
import { formatPrefix, type Ip, ipBytes, mappedBits, parsePrefix, type Prefix } from '../net.js';
import { type Atom, type BlockAtom, PORTLESS, type Signature, signatureOf } from './atoms.js';

/** An address as 16 characters whose order is that of the numbers; IPv4 stands at ::ffff:0:0/96. */
export type AddressKey = string;

export function addressKey(ip: Ip): AddressKey {
  return String.fromCharCode(...ipBytes(ip));
}

/** From the first to the last address of a prefix. */
export interface KeyRange {
  readonly first: AddressKey;
  readonly last: AddressKey;
}

/** Where the longest prefix is this one. */
export interface Region {
  readonly prefix: Prefix;
  readonly atoms: readonly BlockAtom[];
  /** What an address in it matches that belongs to no pod. */
  readonly signature: Signature;
}

interface Span extends KeyRange {
  readonly prefix: Prefix;
  readonly bits: number;
  readonly begins: BlockAtom[];
  readonly ends: Set<BlockAtom>;
}

const WIDTH = 16;
const IPV4 = parsePrefix('0.0.0.0/0');
const NOWHERE: Region = region({ address: '::' as Ip, bits: 0 }, []);

export class Partition {
  readonly #starts: AddressKey[] = [];
  readonly #regions: Region[] = [];
  /** Regions whose addresses need a row, because the region around them says something else. */
  readonly rows: readonly Region[];

  constructor(atoms: readonly BlockAtom[] = []) {
    const rows: Region[] = [];
    const open: { span: Span; region: Region }[] = [];
    const around = (): Region => open.at(-1)?.region ?? NOWHERE;
    const close = (before: AddressKey | undefined): void => {
      for (let top = open.at(-1); top && (before === undefined || top.span.last < before); top = open.at(-1)) {
        open.pop();
        const next = successor(top.span.last);
        if (next !== undefined) this.#start(next, around());
      }
    };
    for (const span of spans(atoms)) {
      close(span.first);
      const outer = around();
      const kept = span.prefix === IPV4 ? [] : outer.atoms.filter((atom) => !span.ends.has(atom));
      const inner = region(span.prefix, [...kept, ...span.begins]);
      if (inner.signature.text !== outer.signature.text) rows.push(inner);
      open.push({ span, region: inner });
      this.#start(span.first, inner);
    }
    close(undefined);
    this.rows = rows;
  }

  /** The region of an address. */
  at(key: AddressKey): Region {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#starts[middle] ?? '') <= key) low = middle + 1;
      else high = middle;
    }
    return this.#regions[low - 1] ?? NOWHERE;
  }

  /** Later ones at the same place are more specific, or what follows the end of one. */
  #start(key: AddressKey, region: Region): void {
    if (this.#starts.at(-1) === key) this.#regions[this.#regions.length - 1] = region;
    else {
      this.#starts.push(key);
      this.#regions.push(region);
    }
  }
}

/** Every prefix that some block names, wider ones first. IPv4 is always one, so that nothing of IPv6 reaches into it. */
function spans(atoms: readonly BlockAtom[]): Span[] {
  const byPrefix = new Map<string, Span>();
  const spanOf = (prefix: Prefix): Span => {
    const text = formatPrefix(prefix);
    const span = byPrefix.get(text) ?? newSpan(prefix);
    byPrefix.set(text, span);
    return span;
  };
  if (IPV4) spanOf(IPV4);
  for (const atom of atoms) {
    spanOf(atom.peer.cidr).begins.push(atom);
    for (const prefix of atom.peer.except) spanOf(prefix).ends.add(atom);
  }
  return [...byPrefix.values()].sort((a, b) => (a.first === b.first ? a.bits - b.bits : a.first < b.first ? -1 : 1));
}

function newSpan(prefix: Prefix): Span {
  return { prefix, ...keyRange(prefix), bits: mappedBits(prefix), begins: [], ends: new Set() };
}

export function keyRange(prefix: Prefix): KeyRange {
  const bits = mappedBits(prefix);
  const first = addressKey(prefix.address);
  const bytes = Array.from(first, (char, i) => char.charCodeAt(0) | (0xff >> Math.min(8, Math.max(0, bits - i * 8))));
  return { first, last: String.fromCharCode(...bytes) };
}

function region(prefix: Prefix, atoms: readonly BlockAtom[]): Region {
  const matches = new Map<Atom, number>(atoms.filter((atom) => !atom.port).map((atom) => [atom, PORTLESS]));
  return { prefix, atoms, signature: signatureOf(matches) };
}

/** The next address, or undefined after the last. */
function successor(key: AddressKey): AddressKey | undefined {
  const bytes = Array.from(key, (char) => char.charCodeAt(0));
  for (let i = WIDTH - 1; i >= 0; i--) {
    const byte = bytes[i] ?? 0;
    bytes[i] = (byte + 1) & 0xff;
    if (byte < 0xff) return String.fromCharCode(...bytes);
  }
  return undefined;
}
