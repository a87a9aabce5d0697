import fc from 'fast-check';
import test from 'ava';
import { rotation } from '../../src/core/weights.js';

const EXAMPLES = [
  { weights: [1, 1, 1], turns: 'abc' },
  { weights: [7, 7], turns: 'ab' },
  { weights: [3, 1], turns: 'aaba' },
  { weights: [1, 3], turns: 'bbab' },
  { weights: [2, 1], turns: 'aba' },
  { weights: [20, 10], turns: 'aba' },
  { weights: [2, 0, 1], turns: 'aca' },
  { weights: [5, 1, 1], turns: 'abaaaca' },
  { weights: [0, 0], turns: '' },
  { weights: [], turns: '' },
];

for (const { weights, turns } of EXAMPLES) {
  test(`weights ${weights.join(' ') || 'of nobody'} take turns ${turns || 'never'}`, (t) => {
    t.is(
      rotation(weights)
        .map((index) => 'abc'[index])
        .join(''),
      turns,
    );
  });
}

test('turns are in proportion to weights, and nobody waits longer than their share', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 100 }), { maxLength: 12 }), (weights) => {
      const turns = rotation(weights);
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (const [index, weight] of weights.entries()) {
        const own = turns.filter((turn) => turn === index).length;
        if (own * total !== weight * turns.length) return false;
        /* twice round, for the gap across the end */
        const places = [...turns, ...turns].flatMap((turn, place) => (turn === index ? [place] : []));
        const gaps = places.slice(1).map((place, i) => place - places[i]!);
        if (gaps.some((gap) => gap > 2 * Math.ceil(total / weight) + weights.length)) return false;
      }
      return true;
    }),
  );
  t.pass();
});

test('a rotation of many backends with many weights is made at once', (t) => {
  const weights = Array.from({ length: 1000 }, (_, index) => (index % 100) + 1);
  t.is(rotation(weights).length, 50_500);
});
