import test from 'ava';
import fc from 'fast-check';
import { hash32, type MaglevBackend, maglevSize, maglevTable } from '../../src/core/maglev.js';
import { WEIR_CHUNKS_PER_SEGMENT, WEIR_SLOTS_PER_CHUNK } from '../../src/maps/layout.js';

function backends(count: number, weight: (i: number) => number = () => 1): MaglevBackend[] {
  return Array.from({ length: count }, (_, i) => ({ name: `10.244.${i >> 8}.${i & 255}:8080`, weight: weight(i) }));
}

function tally(table: Uint32Array, count: number): number[] {
  const slots = new Array<number>(count).fill(0);
  for (const index of table) slots[index] = (slots[index] ?? 0) + 1;
  return slots;
}

function isPrime(n: number): boolean {
  for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) return false;
  return n > 1;
}

/** The share of slots that name another backend than before. */
function moved(before: readonly (string | undefined)[], after: readonly (string | undefined)[]): number {
  return before.filter((name, slot) => name !== after[slot]).length / before.length;
}

const named = (list: readonly MaglevBackend[], table: Uint32Array): (string | undefined)[] =>
  Array.from(table, (index) => list[index]?.name);

/* Vectors: a release that changes one of them sends every flow that only the hash carries to another backend. */

test('names hash to the same numbers in every release', (t) => {
  t.is(hash32('', 0), HASHES.empty);
  t.is(hash32('10.244.0.1:8080', 0x6d61676c), HASHES.v4);
  t.is(hash32('[2001:db8::1]:8080', 0x65762d31), HASHES.v6);
});
const HASHES = { empty: 2872998923, v4: 2016291915, v6: 1141289204 };

const GOLDEN = [
  { name: 'three backends', list: backends(3), first: [1, 1, 1, 1, 2, 0, 2, 2], sum: 322146866 },
  { name: 'a hundred backends', list: backends(100), first: [60, 63, 56, 60, 53, 51, 79, 33], sum: 3284010392 },
  {
    name: 'weights 1, 2 and 5',
    list: backends(3, (i) => [1, 2, 5][i] ?? 0),
    first: [1, 1, 2, 2, 2, 2, 2, 2, 1, 1, 2, 0],
    sum: 199898044,
  },
];

for (const { name, list, first, sum } of GOLDEN) {
  test(`the table of ${name} is the same in every release`, (t) => {
    const table = maglevTable(list, maglevSize(list.length));
    t.deepEqual([...table.subarray(0, first.length)], first);
    t.is(hash32(table.join(), 0), sum);
  });
}

test('every slot names a backend that has a weight', (t) => {
  const anyBackend = fc.record({ name: fc.string({ maxLength: 24 }), weight: fc.nat(20) });
  fc.assert(
    fc.property(fc.array(anyBackend, { maxLength: 24 }), (list) => {
      const table = maglevTable(list, 2039);
      t.is(table.length, list.some(({ weight }) => weight > 0) ? 2039 : 0);
      t.true(table.every((index) => (list[index]?.weight ?? 0) > 0));
    }),
  );
});

test('two nodes with the same backends compute the same table', (t) => {
  t.deepEqual(maglevTable(backends(57), 8191), maglevTable(structuredClone(backends(57)), 8191));
});

test('backends of the same name share the slots instead of taking for ever', (t) => {
  const twins = [...backends(1), ...backends(1)];
  t.deepEqual(tally(maglevTable(twins, 251), 2), [126, 125]);
});

/* The order of the list is the order of turns, so it matters (as in the paper): callers sort by address and port. */
test('another order of the list moves slots, though the shares stay, so callers must sort', (t) => {
  const list = backends(100);
  const shuffled = [...list].reverse();
  const [one, other] = [maglevTable(list, 16381), maglevTable(shuffled, 16381)];
  const share = moved(named(list, one), named(shuffled, other));
  t.true(share > 0 && share < 0.3, `${(share * 100).toFixed(1)} % of the slots moved`);
  t.deepEqual(
    tally(other, 100)
      .toReversed()
      .map((n) => Math.abs(n - 163.81) <= 1),
    new Array(100).fill(true),
  );
});

for (const count of [1, 2, 3, 7, 50, 100, 333, 1000, 5000]) {
  test(`the shares of ${count} equal backends differ by one slot at most, that is by less than 1 %`, (t) => {
    const size = maglevSize(count);
    const slots = tally(maglevTable(backends(count), size), count);
    const [least, most] = [Math.min(...slots), Math.max(...slots)];
    t.true(most - least <= 1, `${least} to ${most} slots`);
    t.true((most - least) / (size / count) <= 0.01);
  });
}

const WEIGHTS = [
  { name: 'one and two', weights: [1, 2] },
  { name: 'one, two and five', weights: [1, 2, 5] },
  { name: 'three and seven', weights: [3, 7] },
  { name: 'one and a hundred', weights: [1, 100] },
  { name: 'equal ones that are not one', weights: [7, 7, 7] },
];

for (const { name, weights } of WEIGHTS) {
  test(`slots are shared as the weights are: ${name}`, (t) => {
    const size = 16381;
    const sum = weights.reduce((a, b) => a + b, 0);
    const slots = tally(
      maglevTable(
        backends(weights.length, (i) => weights[i] ?? 0),
        size,
      ),
      weights.length,
    );
    for (const [i, weight] of weights.entries()) {
      const fair = (size * weight) / sum;
      t.true(
        Math.abs((slots[i] ?? 0) - fair) <= Math.max(2, fair * 0.01),
        `${slots[i]} slots where ${fair.toFixed(0)} are fair`,
      );
    }
  });
}

test('a backend of weight 0 takes nothing and changes nothing', (t) => {
  const list = backends(20);
  const idle = [...list.slice(0, 7), { name: '192.0.2.9:80', weight: 0 }, ...list.slice(7)];
  t.deepEqual(named(idle, maglevTable(idle, 2039)), named(list, maglevTable(list, 2039)));
});

test('without any weight there is no table', (t) => {
  t.is(maglevTable([], 251).length, 0);
  t.is(
    maglevTable(
      backends(3, () => 0),
      251,
    ).length,
    0,
  );
});

for (const gone of [0, 42, 99]) {
  test(`when backend ${gone} of 100 goes, few flows of the others move`, (t) => {
    const list = backends(100);
    const rest = list.filter((_, i) => i !== gone);
    const size = maglevSize(100);
    const before = named(list, maglevTable(list, size));
    const after = named(rest, maglevTable(rest, size));
    const others = before.flatMap((name, slot) => (name === list[gone]?.name ? [] : [[name, after[slot]] as const]));
    const share = others.filter(([a, b]) => a !== b).length / others.length;
    t.log(`${(share * 100).toFixed(2)} % of the others' slots moved`);
    t.true(share < 0.03);
  });
}

test('a table is a prime of at least 100 slots a backend, up to the largest that one segment of the arena holds', (t) => {
  const sizes = new Set<number>();
  for (let count = 1; count <= 12_000; count++) {
    const size = maglevSize(count);
    sizes.add(size);
    t.true(size >= count * 100 || size === Math.max(...sizes), `${count} backends`);
  }
  t.true([...sizes].every(isPrime), [...sizes].join());
  t.true(maglevSize(10_000) >= 1_000_000);
  const room = (WEIR_CHUNKS_PER_SEGMENT - 1) * WEIR_SLOTS_PER_CHUNK;
  t.true(Math.max(...sizes) <= room, `${Math.max(...sizes)} slots where a segment holds ${room}`);
});

test('more backends never mean fewer slots, and the size seldom changes', (t) => {
  const sizes = Array.from({ length: 12_000 }, (_, i) => maglevSize(i + 1));
  t.true(sizes.every((size, i) => i === 0 || size >= (sizes[i - 1] ?? 0)));
  t.true(new Set(sizes).size <= 14);
});
