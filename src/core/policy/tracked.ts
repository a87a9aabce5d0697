/** A map that remembers what it was: the difference since the last question costs what has changed, not what there is. */

export interface Difference<V> {
  /** Absent on the side where there is no such key. */
  readonly before: V | undefined;
  readonly after: V | undefined;
}

export type Delta<K, V> = ReadonlyMap<K, Difference<V>>;

export class Tracked<K, V> {
  readonly #now = new Map<K, V>();
  readonly #before = new Map<K, V | undefined>();

  /** A live view: it changes as this does. */
  get view(): ReadonlyMap<K, V> {
    return this.#now;
  }

  /** undefined deletes. A value that is the same object or text as before is no change. */
  set(key: K, value: V | undefined): void {
    const held = this.#now.get(key);
    if (held === value) return;
    if (!this.#before.has(key)) this.#before.set(key, held);
    if (value === undefined) this.#now.delete(key);
    else this.#now.set(key, value);
  }

  /** What is different from the last call, without what has changed and changed back. */
  take(): Delta<K, V> {
    const delta = new Map<K, Difference<V>>();
    for (const [key, before] of this.#before) {
      const after = this.#now.get(key);
      if (before !== after) delta.set(key, { before, after });
    }
    this.#before.clear();
    return delta;
  }
}
