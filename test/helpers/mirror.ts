/** The receiving end of a source in tests: the state that its changes add up to, and everything it said. */
import type { Change, Problem, Resource } from '../../src/core/model.js';
import { resourceKey } from '../../src/core/objects.js';
import type { SourceEvents } from '../../src/core/model.js';

export class Mirror implements SourceEvents {
  /** By `Kind/namespace/name`. */
  readonly state = new Map<string, Resource>();
  readonly batches: (readonly Change[])[] = [];
  readonly problems: Problem[] = [];
  readonly infos: string[] = [];
  syncs = 0;
  readonly #waiting = new Set<() => void>();

  changes(changes: readonly Change[]): void {
    this.batches.push(changes);
    for (const change of changes) {
      if (change.op === 'set') this.state.set(resourceKey(change.resource), change.resource);
      else this.state.delete(resourceKey(change));
    }
    this.#wake();
  }

  problem(problem: Problem): void {
    this.problems.push(problem);
    this.#wake();
  }

  info(message: string): void {
    this.infos.push(message);
    this.#wake();
  }

  synced(): void {
    this.syncs++;
    this.#wake();
  }

  /** The names of what is there, sorted. */
  get keys(): string[] {
    return [...this.state.keys()].sort();
  }

  /** Resolves as soon as the condition holds; rejects with everything that was said when it does not within the time. */
  async until(what: string, condition: () => boolean, timeoutMs = 10_000): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve, reject) => {
      const check = (): void => {
        if (condition()) finish(resolve);
      };
      const finish = (end: () => void): void => {
        clearTimeout(timer);
        clearInterval(poll);
        this.#waiting.delete(check);
        end();
      };
      const timer = setTimeout(
        () => finish(() => reject(new Error(`no ${what} within ${timeoutMs} ms: ${this.#summary()}`))),
        timeoutMs,
      );
      const poll = setInterval(check, 20);
      this.#waiting.add(check);
    });
  }

  #wake(): void {
    for (const check of [...this.#waiting]) check();
  }

  #summary(): string {
    return JSON.stringify({ keys: this.keys, problems: this.problems, infos: this.infos, syncs: this.syncs });
  }
}
