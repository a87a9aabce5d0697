import test from 'ava';
import fc from 'fast-check';
import { Ids } from '../../src/maps/ids.js';

const REST = 1000;

test('a name keeps its number', (t) => {
  const ids = new Ids(8, REST);
  t.is(ids.of('a', 0), 1);
  t.is(ids.of('b', 0), 2);
  t.is(ids.of('a', 1), 1);
  t.is(ids.find('b'), 2);
  t.is(ids.find('c'), undefined);
});

test('a name that comes back has its old number, also after its rest', (t) => {
  const ids = new Ids(8, REST);
  ids.of('a', 0);
  ids.of('b', 0);
  ids.release('a', 0);
  t.is(ids.of('a', REST * 100), 1);
});

test('a name that has come back does not lose its number to another', (t) => {
  const ids = new Ids(2, REST);
  ids.of('a', 0);
  ids.of('b', 0);
  ids.release('a', 0);
  ids.of('a', 1);
  t.is(ids.of('c', REST * 100), undefined);
  t.is(ids.of('a', REST * 100), 1);
});

test('while there are plenty of fresh numbers, a released one is kept for its name', (t) => {
  const ids = new Ids(8, REST);
  ids.of('a', 0);
  ids.release('a', 0);
  t.is(ids.of('b', REST * 100), 2);
  t.is(ids.of('a', REST * 100), 1);
});

test('a released number stands for something else after its rest, not before', (t) => {
  const ids = new Ids(2, REST);
  ids.of('a', 0);
  ids.of('b', 0);
  ids.release('a', 500);
  t.is(ids.of('c', 500 + REST - 1), undefined);
  t.is(ids.of('c', 500 + REST), 1);
  t.is(ids.find('a'), undefined);
  t.is(ids.of('a', 500 + REST), undefined);
});

test('of several released numbers the one that has been free for longest is given away first', (t) => {
  const ids = new Ids(3, REST);
  for (const name of ['a', 'b', 'c']) ids.of(name, 0);
  ids.release('b', 1);
  ids.release('a', 2);
  ids.release('b', 3);
  t.deepEqual([ids.of('d', REST * 10), ids.of('e', REST * 10)], [1, 2]);
});

test('when all numbers are in use a new name gets none, and the others keep theirs', (t) => {
  const ids = new Ids(3, REST);
  t.deepEqual(
    ['a', 'b', 'c', 'd'].map((name) => ids.of(name, 0)),
    [1, 2, 3, undefined],
  );
  t.deepEqual(
    ['a', 'b', 'c'].map((name) => ids.of(name, 0)),
    [1, 2, 3],
  );
});

test('releasing what has no number does nothing', (t) => {
  const ids = new Ids(1, REST);
  ids.release('a', 0);
  t.is(ids.of('b', REST), 1);
});

test('numbers that the kernel holds keep their names over a restart, and new ones follow them', (t) => {
  const ids = new Ids(8, REST);
  ids.adopt('b', 3);
  t.is(ids.of('a', 0), 4);
  t.is(ids.of('b', 0), 3);
});

test('numbers that were free at a restart are used when no other is left', (t) => {
  const ids = new Ids(4, REST);
  ids.adopt('d', 4);
  ids.adopt('b', 2);
  t.deepEqual(['a', 'c', 'e'].map((name) => ids.of(name, 0)).sort(), [1, 3, undefined]);
});

type Step = { readonly op: 'of' | 'release' | 'wait' | 'restart'; readonly name: string; readonly time: number };

test('whatever is asked in whatever order, no number stands for two names, and none returns before its rest', (t) => {
  const step: fc.Arbitrary<Step> = fc.record({
    op: fc.constantFrom('of', 'of', 'of', 'release', 'wait', 'restart'),
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'),
    time: fc.nat(700),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      let ids = new Ids(6, REST);
      const held = new Map<string, number>();
      const freed = new Map<number, { name: string; at: number }>();
      let now = 0;
      for (const { op, name, time } of steps) {
        if (op === 'wait') now += time;
        if (op === 'release' && held.has(name)) {
          freed.set(held.get(name) ?? 0, { name, at: now });
          held.delete(name);
          ids.release(name, now);
        }
        if (op === 'restart') {
          ids = new Ids(6, REST);
          for (const [other, id] of held) ids.adopt(other, id);
          freed.clear(); // forgotten with the process
        }
        if (op !== 'of') continue;
        const id = ids.of(name, now);
        if (id === undefined) {
          t.true(held.size + freed.size >= 6, 'a number is free');
          continue;
        }
        t.true(id >= 1 && id <= 6);
        t.true(
          [...held].every(([other, number]) => (other === name) === (number === id)),
          'two names',
        );
        const former = freed.get(id);
        t.true(!former || former.name === name || now - former.at >= REST, 'no rest');
        freed.delete(id);
        held.set(name, id);
      }
    }),
    { numRuns: 500 },
  );
});
