import test from 'ava';
import fc from 'fast-check';
import { mergePlans, plan, type Row, rowKey, type Rows, toRows, type Write } from '../../src/core/plan.js';

/* keys of three bytes and tables that do not exist: a plan knows nothing of either */
const RANKS = { names: 0, backends: 1, frontends: 2 };
const TABLES = ['names', 'backends', 'frontends'] as const;

const row = (table: string, key: string, value: string): Row => ({ table, key, value });

function apply(rows: Rows, writes: readonly Write[]): Map<string, Row> {
  const after = new Map(rows);
  for (const write of writes) {
    if (write.op === 'put') after.set(rowKey(write.row), write.row);
    else after.delete(rowKey(write.row));
  }
  return after;
}

const sorted = (rows: Rows): string[] => [...rows.values()].map((entry) => `${rowKey(entry)}=${entry.value}`).sort();
const shown = (writes: readonly Write[]): string[] =>
  writes.map(({ op, row: { table, key } }) => `${op} ${table} ${key}`);

const someRows = fc
  .array(
    fc.tuple(
      fc.constantFrom(...TABLES),
      fc.constantFrom('aaa', '\0\0\0', '\xff\x00\x7f', 'aab'),
      fc.constantFrom('1', '2'),
    ),
    { maxLength: 9 },
  )
  .map((entries) => toRows(entries.map(([table, key, value]) => row(table, key, value))));

test('carrying out a plan gives what it was made for', (t) => {
  fc.assert(
    fc.property(someRows, someRows, (from, to) => t.deepEqual(sorted(apply(from, plan(from, to, RANKS))), sorted(to))),
  );
});

test('what is so already costs nothing', (t) => {
  fc.assert(fc.property(someRows, (rows) => t.deepEqual(plan(rows, new Map([...rows].reverse()), RANKS), [])));
});

test('what is named comes before what names it, and goes after it', (t) => {
  fc.assert(
    fc.property(someRows, someRows, (from, to) => {
      const writes = plan(from, to, RANKS);
      const order = writes.map(
        ({ op, row: { table } }) => (op === 'put' ? 0 : 10) + (op === 'put' ? 1 : -1) * RANKS[table as 'names'],
      );
      t.deepEqual(
        order,
        order.toSorted((a, b) => a - b),
      );
    }),
  );
});

test('a plan is in order: puts from the names up, then deletes from the frontends down', (t) => {
  const from = toRows([row('names', 'old', '1'), row('frontends', 'old', '1'), row('backends', 'old', '1')]);
  const to = toRows([row('frontends', 'new', '1'), row('names', 'new', '1'), row('backends', 'new', '1')]);
  t.deepEqual(shown(plan(from, to, RANKS)), [
    'put names new',
    'put backends new',
    'put frontends new',
    'delete frontends old',
    'delete backends old',
    'delete names old',
  ]);
});

test('values are compared byte by byte, and a change says what was before', (t) => {
  const before = row('names', '\0\x80\xff', '\0\0\0');
  const after = { ...before, value: '\0\0\x01' };
  t.deepEqual(plan(toRows([before]), toRows([after]), RANKS), [{ op: 'put', row: after, before }]);
});

test('the same key in two tables is two entries', (t) => {
  const to = toRows([row('names', 'abc', '1'), row('backends', 'abc', '2')]);
  t.is(plan(new Map(), to, RANKS).length, 2);
});

test('the plans of several services keep the order over all of them', (t) => {
  const change = (name: string): Write[] =>
    plan(
      toRows([row('names', `${name}-`, '1'), row('frontends', `${name}-`, '1')]),
      toRows([row('names', `${name}+`, '1'), row('frontends', `${name}+`, '1')]),
      RANKS,
    );
  t.deepEqual(shown(mergePlans([change('a'), change('b')], RANKS)), [
    'put names a+',
    'put names b+',
    'put frontends a+',
    'put frontends b+',
    'delete frontends a-',
    'delete frontends b-',
    'delete names a-',
    'delete names b-',
  ]);
});

test('an entry that passes from one service to another is replaced and never absent, whichever of the two is planned first', (t) => {
  const mine = row('frontends', 'vip', 'mine');
  const yours = row('frontends', 'vip', 'yours');
  const gives = plan(toRows([mine]), new Map(), RANKS);
  const takes = plan(new Map(), toRows([yours]), RANKS);
  for (const plans of [
    [gives, takes],
    [takes, gives],
  ]) {
    t.deepEqual(mergePlans(plans, RANKS), [{ op: 'put', row: yours, before: mine }]);
  }
});

test('an entry that passes to another service as it is costs nothing', (t) => {
  const entry = row('frontends', 'vip', 'same');
  t.deepEqual(
    mergePlans([plan(toRows([entry]), new Map(), RANKS), plan(new Map(), toRows([entry]), RANKS)], RANKS),
    [],
  );
});

test('however entries pass among services, the plans of all of them give what was wanted', (t) => {
  const owners = fc.array(
    fc.record({ key: fc.constantFrom('aaa', 'bbb', 'ccc'), value: fc.constantFrom('1', '2'), service: fc.nat(2) }),
    { maxLength: 3 },
  );
  const split = (entries: readonly { key: string; value: string; service: number }[]): Map<string, Row>[] => {
    const unique = new Map(entries.map((entry) => [entry.key, entry]));
    return [0, 1, 2].map((service) =>
      toRows(
        [...unique.values()]
          .filter((entry) => entry.service === service)
          .map(({ key, value }) => row('frontends', key, value)),
      ),
    );
  };
  const union = (parts: readonly Rows[]): Map<string, Row> => new Map(parts.flatMap((part) => [...part]));
  fc.assert(
    fc.property(owners, owners, (before, after) => {
      const [from, to] = [split(before), split(after)];
      const writes = mergePlans(
        from.map((part, i) => plan(part, to[i] ?? new Map<string, Row>(), RANKS)),
        RANKS,
      );
      t.deepEqual(sorted(apply(union(from), writes)), sorted(union(to)));
    }),
  );
});
