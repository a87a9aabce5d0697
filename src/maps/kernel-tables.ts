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
  'weir_ranges',
  'weir_endpoints',
  'weir_backends',
  'weir_local',
  'weir_frontends',
  'weir_policy',
  'weir_policysets',
  'weir_classes',
  'weir_vips',
] as const satisfies readonly RankedTable[];
type WrittenTable = (typeof WRITTEN)[number];

export class KernelTables implements Disposable {
  readonly arena: SlotArena;
  readonly #tables: ReadonlyMap<string, Table<unknown, unknown>>;
  /** Entries by table, as they were read last and written since: counting them in the kernel would cost more. */
  readonly #entries = new Map<string, number>();

  /** Opens everything that is pinned below root; `read` is for whoever applies nothing. */
  constructor(root: string, access: Access = 'write') {
    this.#tables = new Map(WRITTEN.map((name) => [name, openTable<unknown, unknown>(root, MAPS[name] as never)]));
    this.arena = new SlotArena(root, access);
  }

  /** All entries of a table as rows. */
  *read(table: WrittenTable): Generator<Row> {
    const open = this.#open(table);
    let count = 0;
    for (const { key, value } of open.rawEntries()) {
      count++;
      yield { table, key: key.toString('latin1'), value: value.toString('latin1') };
    }
    this.#entries.set(table, count);
  }

  /** How full the tables are; slots in chunks of the segments that exist. */
  fullness(): { map: string; entries: number; capacity: number }[] {
    const { free, used, waiting } = this.arena.usage();
    const capacity = free + used + waiting;
    const counted = [...this.#entries].filter(([map]) => map !== 'weir_uplinks'); // an array: all its entries exist
    return [
      ...counted.map(([map, entries]) => ({ map, entries, capacity: this.#open(map).maxEntries })),
      { map: 'weir_slots', entries: used, capacity },
    ];
  }

  /** Carries out writes in their order; neighbours in the same table go to the kernel together. now in ms. */
  apply(writes: readonly Write[], fresh: ReadonlyMap<number, Uint32Array>, now: number): void {
    for (let start = 0; start < writes.length;) {
      const first = writes[start];
      if (!first) return;
      let end = start + 1;
      while (end < writes.length && writes[end]?.op === first.op && writes[end]?.row.table === first.row.table) end++;
      const rows = writes.slice(start, end).map((write) => write.row);
      this.#count(first.row.table, writes.slice(start, end));
      if (first.row.table === 'slots') this.#applySlots(first.op, rows, fresh, now);
      else this.#applyTable(first.op, first.row.table, rows);
      start = end;
    }
  }

  [Symbol.dispose](): void {
    for (const table of this.#tables.values()) table[Symbol.dispose]();
    this.arena[Symbol.dispose]();
  }

  #count(table: string, writes: readonly Write[]): void {
    const before = this.#entries.get(table);
    if (before === undefined) return;
    const step = (write: Write): number => (write.op === 'delete' ? -1 : write.before === undefined ? 1 : 0);
    this.#entries.set(
      table,
      writes.reduce((sum, write) => sum + step(write), before),
    );
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
    if (op === 'delete') open.deleteEncoded(rows.map((row) => row.key));
    else open.putEncoded(rows);
  }

  #open(table: string): Table<unknown, unknown> {
    const open = this.#tables.get(table);
    if (!open) throw new TypeError(`no table ${table}`);
    return open;
  }
}
