/** Expiry of flows: starts the kernel's own walk over the tables, as often as that is cheap. */
import { describeError } from '../errors.js';
import type { Dataplane } from '../loader/dataplane.js';
import type { Log } from './log.js';

/** ms between walks at least. */
const INTERVAL = 5_000;
/** The same where lc compares loads and the kernel evicts flows: what it has evicted is found by counting again. */
const RECOUNT_INTERVAL = 1_000;
/** Of one core, that expiry may take: large tables are walked less often. */
const SHARE = 0.003;
const RECOUNT_SHARE = 0.1;
/** The same where changes ask for walks: they must be quick, but a cluster that changes without pause must not walk without. */
const CHANGE_SHARE = 0.2;

export class Sweeper implements Disposable {
  readonly #dataplane: Dataplane;
  readonly #log: Log;
  #walking = false;
  #again = false;
  #crowded = false;
  #next: NodeJS.Timeout | undefined;
  #asked: NodeJS.Timeout | undefined;
  /** ms: when the last walk began, and how long it took. */
  #last = -Infinity;
  #took = 0;
  /** One moment on both clocks: flows are timed in ticks, people read seconds. */
  clock = { ticks: 0n, ticksTime: 0n };
  /** Flows and translated ports that the last walk left. */
  kept = 0;

  constructor(dataplane: Dataplane, log: Log) {
    this.#dataplane = dataplane;
    this.#log = log;
  }

  /**
   * Walks from time to time until disposed; before each time `before` is called. `recounts` says whether anybody compares the
   * loads of backends.
   */
  start(before: () => void, recounts: () => boolean, delay = INTERVAL): void {
    this.#next = setTimeout(() => {
      before();
      const started = performance.now();
      void this.sweep().then(() => {
        const took = performance.now() - started;
        const often = this.#crowded && recounts();
        const delay = often ? Math.max(RECOUNT_INTERVAL, took / RECOUNT_SHARE) : Math.max(INTERVAL, took / SHARE);
        if (this.#next) this.start(before, recounts, delay);
      });
    }, delay);
  }

  /** Backends have changed: a walk begins after this, at once unless there was one just now. */
  ask(): void {
    if (this.#asked) return;
    const wait = this.#last + this.#took / CHANGE_SHARE - performance.now();
    if (wait <= 0) void this.sweep();
    else
      this.#asked = setTimeout(() => {
        this.#asked = undefined;
        void this.sweep();
      }, wait);
  }

  /** Walks now; where a walk is under way, once more after it, since it may have passed what has changed meanwhile. */
  async sweep(): Promise<void> {
    this.#again = true;
    if (this.#walking) return;
    this.#walking = true;
    while (this.#again) {
      this.#again = false;
      await this.#walk();
    }
    this.#walking = false;
  }

  async #walk(): Promise<void> {
    this.#last = performance.now();
    try {
      const { ticks, time, kept, crowded } = await this.#dataplane.sweep();
      this.kept = kept;
      this.#crowded = crowded;
      this.clock = { ticks, ticksTime: time };
      this.#took = performance.now() - this.#last;
    } catch (error) {
      this.#log('error', describeError(error));
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#next);
    clearTimeout(this.#asked);
    this.#next = undefined;
  }
}
