/**
 * Packet marks by which nftables tells IPVS which virtual server a packet is for. A mark says whose a virtual server is: all
 * from FIRST_MARK to LAST_MARK are ours, no other is. Numbers stay as long as what they stand for, over restarts too (what the
 * kernel has is adopted): a connection is bound to its real server under the mark it came with.
 */

/** 0x57 is `W`; the 20 bits below it count. */
export const FIRST_MARK = 0x5700_0000;
export const LAST_MARK = 0x570f_ffff;
/** Of a mark, the bits that all of ours share. */
export const MARK_MASK = 0xfff0_0000;

export function isOurMark(mark: number): boolean {
  return mark >= FIRST_MARK && mark <= LAST_MARK;
}

export class Marks {
  readonly #byName = new Map<string, number>();
  readonly #names = new Map<number, string>();

  adopt(name: string, mark: number): void {
    this.#byName.set(name, mark);
    this.#names.set(mark, name);
  }

  nameOf(mark: number): string | undefined {
    return this.#names.get(mark);
  }

  /** The mark of a name, a free one where it has none. The same names in any order mostly get the same numbers. */
  of(name: string): number {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const space = LAST_MARK - FIRST_MARK + 1;
    let slot = fnv1a(name) % space;
    while (this.#names.has(FIRST_MARK + slot)) slot = (slot + 1) % space;
    this.adopt(name, FIRST_MARK + slot);
    return FIRST_MARK + slot;
  }
}

/** The frontend of a mark's name; of those of node ports, which concern every node's address, protocol and port alone. */
export function frontendOfMark(name: string): string {
  return name.slice(name.indexOf(' ') + 1);
}

/** What a mark is known by, as the table tells it too: `inside 10.0.0.1 . tcp . 30080`. */
export function markName(variant: string, key: string): string {
  return `${variant} ${key}`;
}

/** FNV-1a, 32 bits (RFC 9923). */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}
