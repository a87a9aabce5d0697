/** What the sources of this folder say of a problem. */
import type { ErrorCode } from '../errors.js';
import type { Problem } from '../core/model.js';

/** A problem with the code by which docs/operations.md explains it. */
export interface SourceProblem extends Problem {
  readonly code: ErrorCode;
}
