/** All tables that the agent writes, opened together, and the carrying out of a plan over them. */
import type { Row, Write } from '../core/plan.js';
import { type Access, SlotArena } from './arena.js';
import type { RankedTable } from './encode.js';
import { MAPS } from './layout.js';
import { openTable, type Table } from './table.js';

const WRITTEN = [
  'weir_names',
  'weir_uplinks',
  'weir_devices',
  'weir_sources',
  'weir_endpoints',
  'weir_backends',
  'weir_local',
  'weir_frontends',
] as const satisfies readonly RankedTable[];
type WrittenTable = (typeof WRITTEN)[number];

export class KernelTables implements Disposable {
  readonly arena: SlotArena;
  readonly #tables: ReadonlyMap<string, Table<unknown, unknown>>;

  /** Opens everything that is pinned below root; `read` is for whoever applies nothing. */
  constructor(root: string, access: Access = 'write') {
    this.#tables = new Map(WRITTEN.map((name) => [name, openTable<unknown, unknown>(root, MAPS[name] as never)]));
    this.arena = new SlotArena(root, access);
  }

  /** All entries of a table as rows. */
  *read(table: WrittenTable): Generator<Row> {
    const open = this.#open(table);
    for (const { key, value } of open.rawEntries()) {
      yield { table, key: key.toString('latin1'), value: value.toString('latin1') };
    }
  }

  /** Carries out writes in their order; neighbours in the same table go to the kernel together. now in ms. */
  apply(writes: readonly Write[], fresh: ReadonlyMap<number, Uint32Array>, now: number): void {
    for (let start = 0; start < writes.length;) {
      const first = writes[start];
      if (!first) return;
      let end = start + 1;
      while (end < writes.length && writes[end]?.op === first.op && writes[end]?.row.table === first.row.table) end++;
      const rows = writes.slice(start, end).map((write) => write.row);
      if (first.row.table === 'slots') this.#applySlots(first.op, rows, fresh, now);
      else this.#applyTable(first.op, first.row.table, rows);
      start = end;
    }
  }

  [Symbol.dispose](): void {
    for (const table of this.#tables.values()) table[Symbol.dispose]();
    this.arena[Symbol.dispose]();
  }

  #applySlots(op: Write['op'], rows: readonly Row[], fresh: ReadonlyMap<number, Uint32Array>, now: number): void {
    for (const row of rows) {
      const chunk = Buffer.from(row.key, 'latin1').readUInt32LE(0);
      const words = fresh.get(chunk);
      if (op === 'delete') this.arena.free(chunk, Buffer.from(row.value, 'latin1').readUInt32LE(0), now);
      else if (words) this.arena.write(chunk, words);
    }
  }

  #applyTable(op: Write['op'], table: string, rows: readonly Row[]): void {
    const open = this.#open(table);
    if (op === 'delete') open.deleteEncoded(rows.map((row) => Buffer.from(row.key, 'latin1')));
    else
      open.putEncoded(
        rows.map((row) => ({ key: Buffer.from(row.key, 'latin1'), value: Buffer.from(row.value, 'latin1') })),
      );
  }

  #open(table: string): Table<unknown, unknown> {
    const open = this.#tables.get(table);
    if (!open) throw new TypeError(`no table ${table}`);
    return open;
  }
}
