/** What keeps a service or an address from being served by IPVS: said once a change, and what is no longer so. */
import type { Problem } from '../core/model.js';
import { ProblemLedger } from '../core/problem-ledger.js';
import type { Log } from './log.js';

export class Troubles {
  readonly #report: (problem: Problem) => void;
  readonly #log: Log;
  readonly #ledger = new ProblemLedger();
  #objects: readonly string[] = [];

  constructor(report: (problem: Problem) => void, log: Log) {
    this.#report = report;
    this.#log = log;
  }

  /** All that there are now. */
  judge(problems: readonly Problem[]): void {
    const byObject = new Map<string, Problem[]>(this.#objects.map((object) => [object, []]));
    for (const problem of problems) byObject.set(problem.object, [...(byObject.get(problem.object) ?? []), problem]);
    for (const [object, own] of byObject) {
      const { fresh, mended } = this.#ledger.judge(object, own);
      fresh.forEach(this.#report);
      if (mended) this.#log('info', `${object}: no longer a problem`);
    }
    this.#objects = problems.map(({ object }) => object);
  }
}
