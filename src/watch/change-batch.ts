import { resourceKey } from '../core/objects.js';
import type { Change } from '../core/model.js';

/** Collects the changes of a few milliseconds into one call; of several changes to one object the last counts. */
export class ChangeBatch {
  readonly #deliver: (changes: readonly Change[]) => void;
  readonly #delayMs: number;
  #waiting = new Map<string, Change>();
  #timer: NodeJS.Timeout | undefined;

  constructor(delayMs: number, deliver: (changes: readonly Change[]) => void) {
    this.#delayMs = delayMs;
    this.#deliver = deliver;
  }

  add(changes: readonly Change[]): void {
    for (const change of changes) {
      const key = resourceKey(change.op === 'set' ? change.resource : change);
      // Re-inserted at the end, so that the order is that of the last changes.
      this.#waiting.delete(key);
      this.#waiting.set(key, change);
    }
    if (this.#waiting.size > 0) this.#timer ??= setTimeout(() => this.flush(), this.#delayMs);
  }

  /** Delivers at once what is waiting. */
  flush(): void {
    const changes = [...this.#waiting.values()];
    this.discard();
    if (changes.length > 0) this.#deliver(changes);
  }

  discard(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting = new Map();
  }
}
