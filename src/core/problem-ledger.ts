/** What has been said of which object, so that each problem is said once a change: when it begins, and again when it returns. */
import type { Problem } from './model.js';

export interface Judgement {
  /** Problems that were not there when the object was judged last. */
  readonly fresh: readonly Problem[];
  /** There were problems then, and there are none now. */
  readonly mended: boolean;
}

export class ProblemLedger {
  readonly #open = new Map<string, ReadonlySet<string>>();

  /** All problems of one object as it is now; none where it is good or gone. */
  judge(key: string, problems: readonly Problem[]): Judgement {
    const before = this.#open.get(key);
    if (problems.length === 0) return { fresh: [], mended: this.#open.delete(key) };
    this.#open.set(key, new Set(problems.map(textOf)));
    return { fresh: problems.filter((problem) => !before?.has(textOf(problem))), mended: false };
  }
}

function textOf({ object, field, message }: Problem): string {
  return `${object}\n${field}\n${message}`;
}
