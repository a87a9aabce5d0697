/** Expiry of flows: starts the kernel's own walk over the tables, as often as that is cheap. */
import { describeError } from '../errors.js';
import type { Dataplane } from '../loader/dataplane.js';
import type { Log } from './log.js';

/** ms between walks at least. */
const INTERVAL = 5_000;
/** Of one core, that expiry may take: large tables are walked less often. */
const SHARE = 0.003;

export class Sweeper implements Disposable {
  readonly #dataplane: Dataplane;
  readonly #log: Log;
  #walking = false;
  #next: NodeJS.Timeout | undefined;
  /** One moment on both clocks: flows are timed in ticks, people read seconds. */
  clock = { ticks: 0n, ticksTime: 0n };
  /** Flows and translated ports that the last walk left. */
  kept = 0;

  constructor(dataplane: Dataplane, log: Log) {
    this.#dataplane = dataplane;
    this.#log = log;
  }

  /** Walks from time to time until disposed; before each time `before` is called. */
  start(before: () => void, delay = INTERVAL): void {
    this.#next = setTimeout(() => {
      before();
      const started = performance.now();
      void this.sweep().then(() => {
        if (this.#next) this.start(before, Math.max(INTERVAL, (performance.now() - started) / SHARE));
      });
    }, delay);
  }

  /** Walks now, unless it is under way. */
  async sweep(): Promise<void> {
    if (this.#walking) return;
    this.#walking = true;
    try {
      const { ticks, time, kept } = await this.#dataplane.sweep();
      this.kept = kept;
      this.clock = { ticks, ticksTime: time };
    } catch (error) {
      this.#log('error', describeError(error));
    } finally {
      this.#walking = false;
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#next);
    this.#next = undefined;
  }
}
