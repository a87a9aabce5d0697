/** Which prefix of a table an address falls to when its own is not there, as the longest match finds it. */
import { familyOf, ipBytes, ipFromBytes, mappedBits, parsePrefix, type Prefix } from '../net.js';

/** Length of a prefix in the 128-bit space, from its text. */
export function bitsOf(text: string): number {
  const bits = Number(text.slice(text.lastIndexOf('/') + 1));
  return text.includes(':') ? bits : bits + 96;
}

/** Finds values by the longest of a table's prefixes that holds another prefix and is shorter. */
export class Enclosing<V> {
  readonly #table: ReadonlyMap<string, V>;
  /** Lengths that occur, longest first. */
  #lengths: readonly number[] | undefined;

  constructor(table: ReadonlyMap<string, V>) {
    this.#table = table;
  }

  /** undefined where nothing encloses it. */
  of(text: string): V | undefined {
    this.#lengths ??= [...new Set(Array.from(this.#table.keys(), bitsOf))].sort((a, b) => b - a);
    const prefix = parsePrefix(text);
    if (!prefix) throw new TypeError(`not a prefix: ${text}`);
    const bytes = ipBytes(prefix.address);
    const own = mappedBits(prefix);
    for (const bits of this.#lengths) {
      if (bits >= own) continue;
      const found = this.#table.get(cut(prefix, bytes, bits));
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

function cut(prefix: Prefix, bytes: Uint8Array, bits: number): string {
  const masked = Uint8Array.from(bytes, (byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, bits - i * 8))) & 0xff);
  return `${ipFromBytes(masked)}/${familyOf(prefix.address) === 'v4' && bits >= 96 ? bits - 96 : bits}`;
}
