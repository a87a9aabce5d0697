import type { ApiError } from './api-client.js';
import type { SourceEvents } from '../core/model.js';
import type { SourceProblem } from './events.js';

/**
 * What the operator hears about the API server: each kind of failure once when it begins and once when it is over, however many
 * reflectors retry however often.
 */
export class ApiHealth {
  readonly #events: SourceEvents;
  /** Open failures, each with the collections that still meet it. */
  readonly #open = new Map<string, Set<string>>();

  constructor(events: SourceEvents) {
    this.#events = events;
  }

  failed(verb: 'list' | 'watch', resource: string, error: ApiError): void {
    // Without an answer it is the server that is away, for all collections alike; with one, it is about this collection.
    const key = error.status === undefined ? 'API server' : `${error.status} for ${resource}`;
    const affected = this.#open.get(key);
    this.#open.set(key, (affected ?? new Set()).add(resource));
    if (affected) return;
    const message = `${error.message}; what was read last stays in force, trying again`;
    const problem: SourceProblem = { object: 'API server', field: `${verb} ${resource}`, message, code: 'WEIR_API' };
    this.#events.problem(problem);
  }

  answered(resource: string): void {
    for (const [key, affected] of this.#open) {
      if (!affected.delete(resource) || affected.size > 0) continue;
      this.#open.delete(key);
      this.#events.info?.(key === 'API server' ? 'API server: answers again' : `API server: no more ${key}`);
    }
  }
}
