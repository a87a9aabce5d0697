/**
 * Numbers for things that have names. A number goes back to its old name for as long as possible, so that what still refers
 * to it (a flow, a drop) keeps its meaning, and is given to another only when it has been free for a while.
 */
export class Ids {
  readonly #max: number;
  readonly #rest: number;
  readonly #byName = new Map<string, number>();
  /** Released names, oldest first, with the time (ms) of their release. */
  readonly #released = new Map<string, number>();
  #next = 1;
  /** Numbers below the greatest that was adopted which nobody has: known when they are needed. */
  #gaps: number[] | undefined;

  /** Numbers from 1 to max; a released one rests for so many ms. */
  constructor(max: number, rest: number) {
    this.#max = max;
    this.#rest = rest;
  }

  /** Takes over a number that the kernel's tables hold. */
  adopt(name: string, id: number): void {
    this.#byName.set(name, id);
    this.#next = Math.max(this.#next, id + 1);
  }

  find(name: string): number | undefined {
    return this.#byName.get(name);
  }

  /** The number of a name, a new one where it has none; undefined where all are in use. now in ms. */
  of(name: string, now: number): number | undefined {
    const known = this.#byName.get(name);
    if (known !== undefined) {
      this.#released.delete(name);
      return known;
    }
    const id = this.#choose(now);
    if (id !== undefined) this.#byName.set(name, id);
    return id;
  }

  release(name: string, now: number): void {
    if (!this.#byName.has(name)) return;
    this.#released.delete(name); // so that it becomes the youngest
    this.#released.set(name, now);
  }

  /** While fresh numbers are plentiful, released ones are kept for their names. */
  #choose(now: number): number | undefined {
    if (this.#next <= this.#max / 2) return this.#next++;
    return this.#reuse(now) ?? (this.#next <= this.#max ? this.#next++ : this.#gap());
  }

  #gap(): number | undefined {
    if (!this.#gaps) {
      const used = new Set(this.#byName.values());
      this.#gaps = Array.from({ length: this.#max }, (_, i) => this.#max - i).filter((id) => !used.has(id));
    }
    return this.#gaps.pop();
  }

  /** The oldest released number that has rested. */
  #reuse(now: number): number | undefined {
    const oldest = this.#released.entries().next().value;
    if (!oldest) return undefined;
    const [name, since] = oldest;
    if (now - since < this.#rest) return undefined;
    const id = this.#byName.get(name);
    this.#released.delete(name);
    this.#byName.delete(name);
    return id;
  }
}
