/**
 * Which tables of nftables others have changed, told by what `nft monitor` says: the lines of a transaction's changes, then one
 * that names the new generation. That names a process too, but by a number that means nothing in a container. So our own
 * transactions are counted: where there are more than we made one is another's, and whichever is heard last, what is read then
 * has both.
 */

/** ms after which a transaction of ours is no longer waited for: the kernel does not tell of one that changed nothing. */
const PATIENCE = 1000;

/** What this process has done to tables that has not been heard of yet. */
export class OwnTransactions {
  readonly #times = new Map<string, number[]>();

  /** One transaction. `now`: ms. */
  made(table: string, now: number): void {
    this.#times.set(table, [...(this.#times.get(table) ?? []), now]);
  }

  /** Whether one that is heard of now can be ours, which counts once. */
  take(table: string, now: number): boolean {
    const waiting = (this.#times.get(table) ?? []).filter((time) => now - time <= PATIENCE);
    const isOurs = waiting.shift() !== undefined;
    this.#times.set(table, waiting);
    return isOurs;
  }
}

/** Tables that others have changed; all of them where something may have been missed. */
export type Changed = ReadonlySet<string> | 'all';

export class Generations {
  readonly #ours: OwnTransactions;
  #tables = new Set<string>();

  constructor(ours: OwnTransactions) {
    this.#ours = ours;
  }

  /** What a line of the monitor adds to what is known; undefined: some may have been missed. `now`: ms. */
  heard(line: string | undefined, now: number): Changed {
    if (line === undefined || line.startsWith('# ERROR')) return 'all';
    if (!line.startsWith('# new generation')) {
      const [, table] = /^[a-z]+ [a-z]+ ([a-z0-9]+ \S+)/.exec(line) ?? [];
      if (table !== undefined) this.#tables.add(table);
      return NONE;
    }
    const tables = [...this.#tables].filter((table) => !this.#ours.take(table, now));
    this.#tables = new Set();
    return new Set(tables);
  }
}

const NONE: ReadonlySet<string> = new Set();
