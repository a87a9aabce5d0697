/** What the sources of this folder say beyond SourceEvents. */
import type { ErrorCode } from '../errors.js';
import type { Problem, Source, SourceEvents } from '../core/model.js';

/** A problem with the code by which docs/operations.md explains it. */
export interface SourceProblem extends Problem {
  readonly code: ErrorCode;
}

export interface WatchEvents extends SourceEvents {
  /** Good news and things worth a log line: a file is readable again, the API server answers again. */
  info?(message: string): void;
}

export interface WatchSource extends Source {
  start(events: WatchEvents): Promise<void>;
}
