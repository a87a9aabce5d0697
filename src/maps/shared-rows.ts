/** Rows of one table that several services may have at once, always with the same value: the last one takes them away. */
import { type Row, rowKey, type Rows } from '../core/plan.js';

export class SharedRows {
  readonly #table: string;
  readonly #byService = new Map<string, readonly string[]>();
  readonly #holders = new Map<string, Set<string>>();

  constructor(table: string) {
    this.#table = table;
  }

  /** Replaces what a service has; rows of other tables do not count. */
  set(service: string, rows: Iterable<Row>): void {
    for (const key of this.#byService.get(service) ?? []) {
      const holders = this.#holders.get(key);
      holders?.delete(service);
      if (holders?.size === 0) this.#holders.delete(key);
    }
    const held: string[] = [];
    for (const row of rows) if (row.table === this.#table) held.push(rowKey(row));
    for (const key of held) this.#holders.set(key, (this.#holders.get(key) ?? new Set()).add(service));
    if (held.length > 0) this.#byService.set(service, held);
    else this.#byService.delete(service);
  }

  /** Whether some service still has this row when those in `next` have what is said there. */
  kept(row: Row, next: ReadonlyMap<string, Rows>): boolean {
    if (row.table !== this.#table) return false;
    const key = rowKey(row);
    return [...(this.#holders.get(key) ?? [])].some((service) => next.get(service)?.has(key) ?? true);
  }
}
