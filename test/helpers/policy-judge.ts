/** What a dataplane that follows the tables of a PolicyState would say: longest prefix, then the entries of the set. */
import { type Ip, ipBytes, mappedBits, parsePrefix, type Protocol } from '../../src/core/net.js';
import { ANYONE, type ClassName, type PolicySet, type PolicyState } from '../../src/core/policy/state.js';

interface Row {
  readonly bytes: Uint8Array;
  readonly bits: number;
  readonly name: ClassName;
}

/** One table for both families, IPv4 at ::ffff:0:0/96, as the kernel has it. */
export class Judge {
  readonly #state: PolicyState;
  readonly #rows: readonly Row[];

  constructor(state: PolicyState) {
    this.#state = state;
    this.#rows = Array.from(state.classes, ([text, name]) => {
      const prefix = parsePrefix(text);
      if (!prefix || name === ANYONE) throw new Error(`not a row: ${text} ${name}`);
      return { bytes: ipBytes(prefix.address), bits: mappedBits(prefix), name };
    }).sort((a, b) => b.bits - a.bits);
  }

  classOf(ip: Ip): ClassName {
    const bytes = ipBytes(ip);
    return this.#rows.find((row) => sameBits(row.bytes, bytes, row.bits))?.name ?? ANYONE;
  }

  /** Whether the set allows it; no set allows everything. */
  allows(set: string | undefined, peer: ClassName, protocol: Protocol, port: number): boolean {
    if (set === undefined) return true;
    return this.set(set).entries.some(
      (entry) =>
        (entry.class === ANYONE || entry.class === peer) &&
        (entry.protocol === 'any' || entry.protocol === protocol) &&
        entry.port >> (16 - entry.bits) === port >> (16 - entry.bits),
    );
  }

  set(name: string): PolicySet {
    const set = this.#state.sets.get(name);
    if (!set) throw new Error(`no set ${name}`);
    return set;
  }
}

function sameBits(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  for (let i = 0; i < 16; i++) {
    const mask = 0xff00 >> Math.min(8, Math.max(0, bits - i * 8));
    if (((a[i] ?? 0) ^ (b[i] ?? 0)) & mask & 0xff) return false;
  }
  return true;
}
