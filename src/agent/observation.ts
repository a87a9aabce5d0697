/** What the agent shows of itself: health, metrics, health checks for load balancers, problems. The loop tells it what happens. */
import type { DesiredService } from '../core/desired.js';
import { ailments, type Vitals } from '../core/health.js';
import type { Change, Problem } from '../core/model.js';
import { type Everywhere, HealthChecks } from '../host/health-check.js';
import { serveHealth } from '../host/health.js';
import { programVersion } from '../host/version.js';
import { Metrics } from '../metrics/metrics.js';
import type { AgentOptions } from '../options.js';
import type { Log } from './log.js';
import type { Plane } from './plane.js';
import { Progress } from './progress.js';
import { Reporter } from './reporter.js';

/** What is asked of the loop when somebody looks. */
export interface Observed {
  readonly plane: Pick<Plane, 'name' | 'lastSync' | 'measure' | 'expositions'>;
  /** How many services are known. */
  readonly services: () => number;
  /** Whether this node is to stay. */
  readonly eligible: () => boolean;
}

export class Observation implements AsyncDisposable {
  readonly progress = new Progress();
  readonly #options: AgentOptions;
  readonly #log: Log;
  readonly #reporter: Reporter;
  readonly #observed: Observed;
  readonly #metrics: Metrics;
  readonly #healthChecks: HealthChecks;
  #servers: readonly (AsyncDisposable | undefined)[] = [];

  constructor(options: AgentOptions, log: Log, reporter: Reporter, observed: Observed) {
    this.#options = options;
    this.#log = log;
    this.#reporter = reporter;
    this.#observed = observed;
    this.#metrics = new Metrics(
      { version: programVersion(), dataplane: observed.plane.name },
      {
        measure: () => observed.plane.measure(),
        services: observed.services,
        synced: () => this.progress.synced,
      },
    );
    this.#healthChecks = new HealthChecks(
      () => ailments('/livez', this.#vitals(), Date.now()).length === 0,
      (about, reason) => reporter.healthCheckFailed(about, options.nodeName, reason),
    );
  }

  /** Serves until disposed; `publish` tells the cluster of a problem, where that is possible. */
  begin(publish: (problem: Problem) => void): void {
    this.#reporter.publish = publish;
    const { health, metrics } = this.#options;
    const failed = (reason: string): void => this.#log('warn', reason);
    const answered = this.#metrics.kubeProxy.answered.bind(this.#metrics.kubeProxy);
    this.#servers = [
      health && serveHealth(health, { vitals: () => this.#vitals(), answered, failed }),
      metrics && this.#metrics.serve(metrics, failed, this.#observed.plane.expositions),
      this.#healthChecks,
    ];
  }

  /** Where load balancers ask after services. */
  listen(addresses: Everywhere): void {
    this.#healthChecks.move(addresses);
  }

  /** Objects have changed, and the kernel does not know it yet. */
  changed(changes: readonly Change[]): void {
    const now = Date.now();
    this.progress.changed(now);
    this.#metrics.kubeProxy.changed(changes, now);
  }

  /** Services are about to be as compiled here. */
  desired(desired: readonly DesiredService[], gone: readonly string[]): void {
    this.#reporter.judge(desired, gone);
    this.#healthChecks.follow(desired, gone);
    this.#metrics.kubeProxy.desired(desired, gone);
  }

  /** All changes are in the kernel. `started` by performance.now(); `full` where every service was compared. */
  succeeded(started: number, full: boolean): void {
    const now = Date.now();
    const waited = this.progress.succeeded(now);
    if (waited === undefined && !full) return;
    this.#metrics.kubeProxy.synced({ full, seconds: (performance.now() - started) / 1000, now });
    this.#metrics.weir.applied((waited ?? 0) / 1000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#servers.map(async (server) => server?.[Symbol.asyncDispose]()));
  }

  #vitals(): Vitals {
    return this.progress.vitals(this.#observed.plane.lastSync, this.#observed.eligible());
  }
}
