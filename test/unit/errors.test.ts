import test from 'ava';
import { describeError, type ErrorCode, REMEDIES, WeirError } from '../../src/errors.js';

for (const [code, remedy] of Object.entries(REMEDIES)) {
  test(`${code} says in one line what to do next`, (t) => {
    t.regex(code, /^WEIR_[A-Z_]+$/);
    t.regex(remedy, /^[^\n]{10,160}$/);
    t.notRegex(remedy, /\.$|^[A-Z][a-z]/);
    t.is(new WeirError(code as ErrorCode, 'x').remedy, remedy);
  });
}

test('an error is told in one line: what failed, its code and what to do', (t) => {
  const error = new WeirError('WEIR_BPFFS', 'open /x: no bpf file system');
  t.is(describeError(error), `open /x: no bpf file system [WEIR_BPFFS]: ${REMEDIES.WEIR_BPFFS}`);
});

test('what is not an error of Weir is told by its message', (t) => {
  t.is(describeError(new TypeError('no such thing')), 'no such thing');
  t.is(describeError('just a text'), 'just a text');
});

test('an error keeps its cause and its details', (t) => {
  const cause = new Error('below');
  const error = new WeirError('WEIR_FULL', 'write: full', { cause, details: { applied: 3 } });
  t.is(error.cause, cause);
  t.deepEqual(error.details, { applied: 3 });
  t.false('cause' in new WeirError('WEIR_FULL', 'write: full'));
});
