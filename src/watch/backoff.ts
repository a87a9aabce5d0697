/** Waiting times that double with each failure in a row, with jitter so that the agents of a cluster do not come in step. */
export class Backoff {
  readonly #least: number;
  readonly #most: number;
  readonly #random: () => number;
  #failures = 0;

  constructor(least: number, most: number, random: () => number) {
    this.#least = least;
    this.#most = most;
    this.#random = random;
  }

  /** ms to wait after one more failure: between the plain doubling and half as much again, never above the most. */
  next(): number {
    const plain = Math.min(this.#most, this.#least * 2 ** Math.min(this.#failures++, 30));
    return Math.min(this.#most, plain * (1 + this.#random() / 2));
  }

  reset(): void {
    this.#failures = 0;
  }
}
