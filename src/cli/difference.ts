/** What a plan would change, as differences between what should be and what is, in names instead of numbers. */
import type { Row, Write } from '../core/plan.js';
import { rowKey } from '../core/plan.js';
import type { Described, Describer } from './describe.js';

export interface Difference {
  readonly table: string;
  readonly key: string;
  /** null: nothing there. */
  readonly want: Described | null;
  readonly have: Described | null;
}

/** Writes that change nothing that counts give no difference: what the programs have learnt, numbers for the same names. */
export function differences(writes: readonly Write[], describer: Describer): Difference[] {
  const found: Difference[] = [];
  for (const { want, have } of byEntry(writes)) {
    const some = want ?? have;
    if (!some || some.table === 'slots') continue; // told with the frontends that name them
    const wanted = want && describer.value(want, 'want');
    const had = have && describer.value(have, 'have');
    if (wanted && had && agree(wanted, had)) continue;
    found.push({
      table: some.table,
      key: describer.key(some, have ? 'have' : 'want'),
      want: wanted ?? null,
      have: had ?? null,
    });
  }
  return found;
}

interface Entry {
  want?: Row;
  have?: Row;
}

/** One entry may be deleted for one service and put for another: what is put counts. */
function byEntry(writes: readonly Write[]): Iterable<Entry> {
  const entries = new Map<string, Entry>();
  for (const write of writes) {
    const entry = entries.get(rowKey(write.row)) ?? {};
    entries.set(rowKey(write.row), entry);
    const before = write.op === 'put' ? write.before : write.row;
    if (before) entry.have = before;
    if (write.op === 'put' && !isCleared(write.row)) entry.want = write.row;
  }
  return entries.values();
}

/** An array's entry cannot be deleted: it becomes zero. */
function isCleared(row: Row): boolean {
  return row.table === 'weir_uplinks' && /^\0*$/.test(row.value);
}

/** Fields that are unknown on either side ('?') do not count. */
function agree(want: Described, have: Described): boolean {
  return changedFields(want, have).length === 0;
}

export function changedFields(want: Described, have: Described): string[] {
  return Object.keys(want).filter((field) => {
    const [a, b] = [want[field], have[field]];
    return a !== '?' && b !== '?' && JSON.stringify(a) !== JSON.stringify(b);
  });
}

/** Two lines below each key; where both sides are there, only the fields that differ. */
export function formatDifference({ table, key, want, have }: Difference): string {
  const fields = want && have ? changedFields(want, have) : Object.keys(want ?? have ?? {});
  const side = (value: Described | null): string =>
    value ? fields.map((field) => `${field}=${text(value[field])}`).join(' ') : 'nothing';
  return `${table} ${key}\n  want ${side(want)}\n  have ${side(have)}\n`;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
