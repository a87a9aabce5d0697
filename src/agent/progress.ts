/** What the agent remembers of how it fares, for whoever asks after its health. */
import type { Vitals } from '../core/health.js';
import { describeError } from '../errors.js';

export class Progress {
  #synced = false;
  #waitingSince = 0;
  #failure: string | undefined;
  faults: readonly string[] = [];

  get synced(): boolean {
    return this.#synced;
  }

  /** The last attempt to bring the kernel in step failed, or something of it is gone from there. */
  get troubled(): boolean {
    return this.#failure !== undefined || this.faults.length > 0;
  }

  /** All that there was at the start has been read. */
  complete(): void {
    this.#synced = true;
  }

  /** A change has come that is not in the kernel. Times in ms since 1970. */
  changed(now: number): void {
    if (this.#waitingSince === 0) this.#waitingSince = now;
  }

  /** All changes are in the kernel. Returns the ms for which the oldest has waited; undefined where there was none. */
  succeeded(now: number): number | undefined {
    const waited = this.#waitingSince > 0 ? now - this.#waitingSince : undefined;
    this.#waitingSince = 0;
    this.#failure = undefined;
    return waited;
  }

  failed(error: unknown): void {
    this.#failure = describeError(error);
  }

  vitals(lastSync: number, eligible: boolean): Vitals {
    const waitingSince = this.#synced ? this.#waitingSince : 0; // before, it is the source that is waited for
    return { synced: this.#synced, lastSync, failure: this.#failure, waitingSince, faults: this.faults, eligible };
  }
}
