/**
 * From rows that are to rows that should be: an ordered list of writes during which no packet meets half a service. Works on
 * encoded bytes and ranks alone, so it sees just what the kernel sees and can be tested with three-byte keys.
 */

/** A map entry as bytes, one character a byte (latin1), which is the most compact thing that compares with ===. */
export interface Row {
  readonly table: string;
  readonly key: string;
  readonly value: string;
}

/** Rows by table and key. */
export type Rows = ReadonlyMap<string, Row>;

export type Write =
  | { readonly op: 'put'; readonly row: Row; readonly before: Row | undefined }
  | { readonly op: 'delete'; readonly row: Row };

export function rowKey(row: { table: string; key: string }): string {
  return `${row.table}\0${row.key}`;
}

export function toRows(rows: Iterable<Row>): Map<string, Row> {
  const map = new Map<string, Row>();
  for (const row of rows) map.set(rowKey(row), row);
  return map;
}

/** Tables in the order in which they are filled: what is named comes before what names it. */
export type Ranks = Readonly<Record<string, number>>;

/**
 * What turns `from` into `to`: first everything that is put, named before naming, then everything that is deleted, in the
 * opposite order. Equal rows cost nothing and give nothing.
 */
export function plan(from: Rows, to: Rows, ranks: Ranks): Write[] {
  const puts: Write[] = [];
  const deletes: Write[] = [];
  for (const [key, row] of to) {
    const before = from.get(key);
    if (before?.value !== row.value) puts.push({ op: 'put', row, before });
  }
  for (const [key, row] of from) {
    if (!to.has(key)) deletes.push({ op: 'delete', row });
  }
  return inOrder(puts, deletes, ranks);
}

/**
 * Merges the plans of several services into one that keeps the order over all of them. What one gives up and another takes
 * (an address that moves between services) is put only, and not even that where its value stays.
 */
export function mergePlans(plans: readonly (readonly Write[])[], ranks: Ranks): Write[] {
  const all = plans.flat();
  const given = new Map<string, Write>();
  for (const write of all) if (write.op === 'delete') given.set(rowKey(write.row), write);
  const puts: Write[] = [];
  for (const write of all) {
    if (write.op === 'delete') continue;
    const key = given.size > 0 ? rowKey(write.row) : '';
    const before = given.get(key)?.row ?? write.before;
    given.delete(key);
    if (before?.value !== write.row.value) puts.push(before === write.before ? write : { ...write, before });
  }
  return inOrder(puts, [...given.values()], ranks);
}

function inOrder(puts: Write[], deletes: Write[], ranks: Ranks): Write[] {
  const rank = (write: Write): number => ranks[write.row.table] ?? 0;
  puts.sort((a, b) => rank(a) - rank(b));
  deletes.sort((a, b) => rank(b) - rank(a));
  return [...puts, ...deletes];
}
