/**
 * Taking over from the other dataplane: it is there when this one begins, has what is new until this one is complete, goes on
 * with the connections that it has after that, and is removed when they have ended or the time is over.
 */
import { describeError } from '../errors.js';
import type { Log } from './log.js';
import type { Removal } from './removal.js';

/** The dataplane that was there before. */
export interface Predecessor extends Disposable {
  /** What becomes of which connections, for the log. */
  readonly goesOn: string;
  readonly isLost: string;
  /** Number of connections that it alone can go on with. */
  remaining(): number | Promise<number>;
  /** All of it, without what its successor needs. */
  removal(): Removal;
}

/** ms since 1970. */
export interface Deadlines {
  /** Not before, however little it seems to hold. */
  readonly earliest: number;
  readonly latest: number;
}

/** ms between looks at what the predecessor still holds. */
const INTERVAL = 2_000;
/** Times as long as a look took, if that is longer. */
const PAUSE = 4;

/** ms, after a look that began at `started`: where it took long the next one waits, but not past the end. */
function pauseAfter(started: number, { latest }: Deadlines): number {
  const now = Date.now();
  return Math.max(INTERVAL, Math.min((now - started) * PAUSE, latest - now));
}

export class Takeover implements Disposable {
  readonly #predecessor: Predecessor;
  readonly #log: Log;
  readonly #done: () => void;
  #timer: NodeJS.Timeout | undefined;
  #begun = false;
  #ended = false;

  /** `done` is called when the predecessor is no more. */
  constructor(predecessor: Predecessor, log: Log, done: () => void) {
    this.#predecessor = predecessor;
    this.#log = log;
    this.#done = done;
  }

  get begun(): boolean {
    return this.#begun;
  }

  /** From now on the successor has what is new. */
  begin(deadlines: Deadlines): void {
    this.#begun = true;
    const left = Math.max(0, Math.ceil((deadlines.latest - Date.now()) / 1000));
    this.#log('info', `takeover: ${this.#predecessor.goesOn}, for ${left}s at most`);
    this.#next(deadlines, 0);
  }

  [Symbol.dispose](): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#predecessor[Symbol.dispose]();
  }

  #next(deadlines: Deadlines, delay = Math.min(INTERVAL, Math.max(0, deadlines.latest - Date.now()))): void {
    this.#timer = setTimeout(() => void this.#look(deadlines), delay);
  }

  async #look(deadlines: Deadlines): Promise<void> {
    const now = Date.now();
    try {
      const remaining = await this.#remaining();
      if (this.#ended) return;
      if (now >= deadlines.latest || (remaining === 0 && now >= deadlines.earliest)) {
        this.#finish(remaining ?? 0);
        return;
      }
    } catch (error) {
      this.#log('error', `takeover: ${describeError(error)}`);
    }
    if (!this.#ended) this.#next(deadlines, pauseAfter(now, deadlines));
  }

  /** undefined: nobody knows, and the time runs on. */
  async #remaining(): Promise<number | undefined> {
    try {
      return await this.#predecessor.remaining();
    } catch (error) {
      this.#log('error', `takeover: ${describeError(error)}`);
      return undefined;
    }
  }

  #finish(remaining: number): void {
    if (remaining > 0)
      this.#log('warn', `takeover: the time is over, connections=${remaining}: ${this.#predecessor.isLost}`);
    for (const step of this.#predecessor.removal().steps) {
      step.carryOut();
      this.#log('info', `takeover: ${step.verb} ${step.what}`);
    }
    this[Symbol.dispose]();
    this.#done();
    this.#log('info', 'takeover: complete');
  }
}
