/** The names of nodes in weir_names: they belong to no service, and stay for as long as some backend names them. */
import type { Row, Rows, Write } from '../core/plan.js';
import { rowKey } from '../core/plan.js';
import { u32Codec } from './codec.js';
import { bytes } from './encode.js';
import { idOf } from './keys.js';
import { decodeBackend, MAPS } from './layout.js';

export type Uses = ReadonlyMap<number, number>;

export class NodeNames {
  /** How many backends name each node, by number. */
  readonly #uses = new Map<number, number>();

  /** Takes over a name that the kernel has. */
  adopt(id: number): void {
    this.#uses.set(id, this.#uses.get(id) ?? 0);
  }

  /** Takes over a backend that the kernel has, which names this node. */
  adoptBackend(node: number): void {
    this.#uses.set(node, (this.#uses.get(node) ?? 0) + 1);
  }

  /**
   * The rows that there should be once writes of backends with these `uses` are done: those that were and those in `named`,
   * without nodes that no backend names any more.
   */
  after(rows: Rows, named: ReadonlyMap<number, string>, uses: Uses): Map<string, Row> {
    const next = new Map(rows);
    for (const [id, text] of named) {
      const row: Row = { table: 'weir_names', key: bytes(u32Codec, id), value: bytes(MAPS.weir_names.value, { text }) };
      if (!next.has(rowKey(row))) next.set(rowKey(row), row);
    }
    for (const [key, row] of next) {
      const id = idOf(row);
      if ((uses.get(id) ?? this.#uses.get(id)) === 0) next.delete(key);
    }
    return next;
  }

  /** Remembers that writes with these uses are done. */
  commit(uses: Uses): void {
    for (const [id, count] of uses) {
      if (count > 0) this.#uses.set(id, count);
      else this.#uses.delete(id);
    }
  }

  /** How many backends name each node whose count these writes change. */
  uses(writes: Iterable<Write>): Uses {
    const uses = new Map<number, number>();
    const count = (row: Row | undefined, by: number): void => {
      const node = row ? decodeBackend(Buffer.from(row.value, 'latin1')).node : 0;
      if (node !== 0) uses.set(node, (uses.get(node) ?? this.#uses.get(node) ?? 0) + by);
    };
    for (const write of writes) {
      if (write.row.table !== 'weir_backends') continue;
      if (write.op === 'put') {
        count(write.before, -1);
        count(write.row, 1);
      } else count(write.row, -1);
    }
    return uses;
  }
}
