/** Numbers without names: one that is no longer in use rests before it is given out again. */
export class NumberPool {
  readonly #rest: number;
  readonly #used: Set<number>;
  /** Oldest first, with the time (ms) since when they are free. */
  readonly #free = new Map<number, number>();
  #next: number;

  /** Numbers from `first` on, without those in use; a free one rests for so many ms. */
  constructor(first: number, used: Iterable<number>, rest: number) {
    this.#rest = rest;
    this.#used = new Set(used);
    this.#next = [...this.#used].reduce((next, id) => Math.max(next, id + 1), first);
  }

  take(now: number): number {
    const oldest = this.#free.entries().next().value;
    if (oldest && now - oldest[1] >= this.#rest) {
      this.#free.delete(oldest[0]);
      this.#used.add(oldest[0]);
      return oldest[0];
    }
    this.#used.add(this.#next);
    return this.#next++;
  }

  /** All others are free from now on. */
  keep(used: Iterable<number>, now: number): void {
    const kept = new Set(used);
    for (const id of this.#used) {
      if (kept.has(id)) continue;
      this.#used.delete(id);
      this.#free.set(id, now);
    }
  }
}
