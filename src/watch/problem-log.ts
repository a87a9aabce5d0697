import type { Problem } from '../core/model.js';
import type { SourceEvents } from '../core/model.js';
import { ProblemLedger } from '../core/problem-ledger.js';
import type { SourceProblem } from './events.js';

/** Says each problem once, and that it is over once. */
export class ProblemLog {
  #open = new Map<string, SourceProblem>();
  readonly #events: SourceEvents;

  constructor(events: SourceEvents) {
    this.#events = events;
  }

  /** The problems there are now: new ones are reported, those that are gone are said to be mended. */
  update(problems: readonly SourceProblem[]): void {
    const now = new Map(
      problems.map((problem) => [`${problem.object}\n${problem.field}\n${problem.message}`, problem]),
    );
    const before = this.#open;
    this.#open = now;
    for (const [key, problem] of now) if (!before.has(key)) this.#events.problem(problem);
    const objects = new Set(problems.map(subject));
    const mended = new Set([...before.values()].map(subject).filter((object) => !objects.has(object)));
    for (const object of mended) this.#events.info?.(`${object}: no longer a problem`);
  }
}

/** The file or object that a problem is about, without the line number, which may move. */
function subject(problem: SourceProblem): string {
  return problem.object.replace(/:\d+$/, '');
}

/** The same for objects that are judged one at a time. */
export class ObjectProblems {
  readonly #known = new ProblemLedger();
  readonly #events: SourceEvents;

  constructor(events: SourceEvents) {
    this.#events = events;
  }

  judged(key: string, problems: readonly Problem[]): void {
    const { fresh, mended } = this.#known.judge(key, problems);
    for (const problem of fresh) {
      const reported: SourceProblem = { ...problem, code: 'WEIR_INVALID_OBJECT' };
      this.#events.problem(reported);
    }
    if (mended) this.#events.info?.(`${key}: no longer a problem`);
  }
}
