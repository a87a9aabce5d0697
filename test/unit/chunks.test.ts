import test from 'ava';
import fc from 'fast-check';
import { ChunkAllocator } from '../../src/maps/chunks.js';

const PER_SEGMENT = 16;
const QUARANTINE = 1000;

function allocator(segments = 1): ChunkAllocator {
  const chunks = new ChunkAllocator(PER_SEGMENT, QUARANTINE);
  for (let i = 0; i < segments; i++) chunks.addSegment();
  return chunks;
}

test('chunk 0 is never given away, since 0 means none', (t) => {
  const chunks = allocator();
  const given = Array.from({ length: PER_SEGMENT }, () => chunks.allocate(1, 0));
  t.deepEqual(given, [...Array.from({ length: PER_SEGMENT - 1 }, (_, i) => i + 1), undefined]);
});

test('a range that is given back is used again after the quarantine, not before', (t) => {
  const chunks = allocator();
  t.is(chunks.allocate(15, 0), 1);
  chunks.release(1, 15, 500);
  t.is(chunks.allocate(1, 1499), undefined);
  t.is(chunks.allocate(15, 1500), 1);
});

test('neighbours that are free join to one range, whatever the order in which they came back', (t) => {
  for (const order of [
    [0, 1, 2],
    [2, 0, 1],
    [1, 2, 0],
    [0, 2, 1],
  ]) {
    const chunks = allocator();
    const given = [5, 5, 5].map((count) => chunks.allocate(count, 0) ?? -1);
    for (const i of order) chunks.release(given[i] ?? -1, 5, 0);
    t.is(chunks.allocate(15, QUARANTINE), 1);
  }
});

test('a range never crosses from one segment to the next', (t) => {
  const chunks = allocator(2);
  t.is(chunks.allocate(10, 0), 1);
  t.is(chunks.allocate(10, 0), PER_SEGMENT);
  t.is(chunks.allocate(6, 0), PER_SEGMENT + 10);
  t.is(chunks.allocate(6, 0), undefined);
});

test('a range of a former process is reserved once, and not where it is in use or outside', (t) => {
  const chunks = allocator();
  t.true(chunks.reserve(5, 4));
  t.false(chunks.reserve(8, 2));
  t.false(chunks.reserve(0, 2));
  t.false(chunks.reserve(PER_SEGMENT, 1));
  t.is(chunks.allocate(4, 0), 1);
  t.is(chunks.allocate(4, 0), 9);
});

test('when everything is given back, what somebody still names is taken again, and the rest is free after the quarantine', (t) => {
  const chunks = allocator();
  const [named, forgotten] = [chunks.allocate(3, 0) ?? -1, chunks.allocate(4, 0) ?? -1];
  chunks.releaseAll(100);
  t.false(chunks.reserve(named, 2), 'another range');
  t.true(chunks.reserve(named, 3));
  t.false(chunks.reserve(named, 3), 'twice');
  t.is(chunks.allocate(PER_SEGMENT - 1 - 3, 99 + QUARANTINE), undefined);
  t.is(chunks.allocate(PER_SEGMENT - 1 - 3, 100 + QUARANTINE), forgotten);
});

test('giving back what is not in use as one range is refused', (t) => {
  const chunks = allocator();
  const chunk = chunks.allocate(3, 0) ?? -1;
  t.throws(() => chunks.release(chunk, 2, 0), { instanceOf: RangeError });
  chunks.release(chunk, 3, 0);
  t.throws(() => chunks.release(chunk, 3, 0), { instanceOf: RangeError });
});

type Step = { readonly op: 'allocate' | 'release' | 'reserve' | 'wait' | 'grow'; readonly n: number };

test('whatever is asked in whatever order, no chunk is given twice and none is lost', (t) => {
  const step: fc.Arbitrary<Step> = fc.record({
    op: fc.constantFrom('allocate', 'allocate', 'release', 'reserve', 'wait', 'grow'),
    n: fc.nat(60),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const chunks = allocator();
      const held = new Map<number, number>();
      let now = 0;
      const take = (chunk: number | undefined, count: number): void => {
        if (chunk === undefined) return;
        for (const [other, length] of held) t.true(chunk + count <= other || other + length <= chunk, 'overlap');
        t.true(chunk > 0 && Math.floor(chunk / PER_SEGMENT) === Math.floor((chunk + count - 1) / PER_SEGMENT));
        held.set(chunk, count);
      };
      for (const { op, n } of steps) {
        const count = (n % 6) + 1;
        if (op === 'allocate') take(chunks.allocate(count, now), count);
        if (op === 'reserve') take(chunks.reserve(n, count) ? n : undefined, count);
        if (op === 'wait') now += n * 40;
        if (op === 'grow' && chunks.segments < 3) chunks.addSegment();
        const [chunk, length] = [...held][n % Math.max(1, held.size)] ?? [];
        if (op === 'release' && chunk !== undefined && length !== undefined) {
          chunks.release(chunk, length, now);
          held.delete(chunk);
        }
        const { free, used, waiting } = chunks.usage();
        t.is(free + used + waiting, chunks.segments * PER_SEGMENT - 1);
        t.is(
          used,
          [...held.values()].reduce((sum, size) => sum + size, 0),
        );
      }
      for (const [chunk, length] of held) chunks.release(chunk, length, now);
      t.is(chunks.allocate(PER_SEGMENT - 1, now + QUARANTINE), 1, 'all is one range again');
    }),
  );
});
