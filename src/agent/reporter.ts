/** What the operator hears of problems: a line in the log and, where the source can tell the cluster, an Event. Once a change. */
import type { DesiredService } from '../core/desired.js';
import type { ObjectReference, Problem } from '../core/model.js';
import { ProblemLedger } from '../core/problem-ledger.js';
import { REMEDIES } from '../errors.js';
import type { Log } from './log.js';

export class Reporter {
  readonly #log: Log;
  readonly #known = new ProblemLedger();
  /** Tells the cluster; set once there is a source that can. */
  publish: (problem: Problem) => void = () => undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  report(problem: Problem): void {
    const { object, field, message, code } = problem;
    const what = [object, field, message].filter((part) => part !== '').join(': ');
    this.#log('warn', code ? `${what} [${code}]: ${REMEDIES[code]}` : what);
    this.publish(problem);
  }

  /** The problems of services as they are now compiled, which may be the same as before. */
  judge(desired: readonly DesiredService[], gone: readonly string[]): void {
    for (const key of gone) this.#known.judge(key, []);
    for (const { key, problems } of desired) {
      const { fresh, mended } = this.#known.judge(key, problems);
      for (const problem of fresh) this.report(problem);
      if (mended) this.#log('info', `Service ${key}: no longer a problem`);
    }
  }

  /** A service whose health check cannot be served: load balancers will take this node for one without endpoints. */
  healthCheckFailed(about: ObjectReference, nodeName: string, reason: string): void {
    this.report({
      object: `Service ${about.namespace}/${about.name}`,
      field: 'spec.healthCheckNodePort',
      message: `cannot be served on node ${nodeName}: ${reason}`,
      event: { about, reason: 'FailedToStartServiceHealthcheck' },
    });
  }
}
