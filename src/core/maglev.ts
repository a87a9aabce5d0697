/**
 * Maglev consistent hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
 * section 3.4). A table depends on nothing but the backends' names, weights and order (that of their turns: callers sort), so
 * every node computes the same one.
 */

export interface MaglevBackend {
  /** What the backend's preference is hashed from; the same on every node. */
  readonly name: string;
  /** 0: takes no slot. */
  readonly weight: number;
}

const LARGEST = 1048507;
/**
 * Primes near powers of two. A table that changes its size moves half of all flows, so small services share one size: only a
 * lone backend, whose table says the same in every slot, has less. The last is the largest that a segment of the arena holds.
 */
const LONE = 251;
const SIZES = [1021, 2039, 4093, 8191, 16381, 32749, 65537, 131071, 262139, 524287, LARGEST] as const;
const SLOTS_PER_BACKEND = 100;

/** The number of slots for so many backends: at least 100 each (up to 10,485), which keeps shares within about 1 % of each other. */
export function maglevSize(backends: number): number {
  if (backends <= 1) return LONE;
  return SIZES.find((size) => size >= backends * SLOTS_PER_BACKEND) ?? LARGEST;
}

/** For every slot the index into backends, or an empty table where no backend has a weight. size must be a prime. */
export function maglevTable(backends: readonly MaglevBackend[], size: number): Uint32Array {
  const indices = Uint32Array.from(backends.keys()).filter((index) => backends[index]!.weight > 0);
  const count = indices.length;
  if (count === 0) return new Uint32Array(0);
  const next = new Int32Array(count);
  const skip = new Int32Array(count);
  const weights = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const { name, weight } = backends[indices[i]!]!;
    next[i] = hash32(name, 0x6d61676c) % size;
    skip[i] = (hash32(name, 0x65762d31) % (size - 1)) + 1;
    weights[i] = weight;
  }
  return fill(size, indices, next, skip, weights);
}

/** Backends take turns, each its next preferred free slot; one of half the greatest weight sits out every second round. */
function fill(
  size: number,
  indices: Uint32Array,
  next: Int32Array,
  skip: Int32Array,
  weights: Float64Array,
): Uint32Array {
  const count = indices.length;
  const heaviest = weights.reduce((a, b) => Math.max(a, b), 0);
  const credit = new Float64Array(count);
  const table = new Uint32Array(size);
  const taken = new Uint8Array(size); // probed far more often than the table is written: as small as can be
  let free = size;
  for (;;) {
    for (let i = 0; i < count; i++) {
      credit[i]! += weights[i]!;
      if (credit[i]! < heaviest) continue;
      credit[i]! -= heaviest;
      let slot = next[i]!;
      const step = skip[i]!;
      while (taken[slot]) {
        slot += step;
        if (slot >= size) slot -= size;
      }
      table[slot] = indices[i]!;
      taken[slot] = 1;
      next[i] = slot;
      if (--free === 0) return table;
    }
  }
}

/** FNV-1a over the UTF-16 code units, then murmur3's final mix, which spreads what FNV leaves in the low bits. */
export function hash32(text: string, seed: number): number {
  let h = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < text.length; i++) {
    h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  }
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
