/** All metrics of one agent, and where they are served. */
import { Registry } from 'prom-client';
import type { Place } from '../host/listen.js';
import { KubeProxyMetrics } from './kube-proxy.js';
import { type Exposition, serveMetrics } from './server.js';
import { type BuildInfo, type Measures, WeirMetrics } from './weir.js';

export interface Observed {
  readonly measure: () => Measures;
  /** How many services are known. */
  readonly services: () => number;
  readonly synced: () => boolean;
}

export class Metrics {
  readonly kubeProxy: KubeProxyMetrics;
  readonly weir: WeirMetrics;
  readonly #registry = new Registry();
  readonly #build: BuildInfo;
  readonly #observed: Observed;

  constructor(build: BuildInfo, observed: Observed) {
    this.#build = build;
    this.#observed = observed;
    this.kubeProxy = new KubeProxyMetrics(this.#registry, Date.now());
    this.weir = new WeirMetrics(this.#registry, build, observed.measure, observed.services);
  }

  /** Serves until disposed. `more` are collectors with as many lines as there are services or backends. */
  serve(place: Place, failed: (reason: string) => void, more: readonly Exposition[]): AsyncDisposable {
    const proxyMode = `weir-${this.#build.dataplane}`;
    return serveMetrics(place, { proxyMode, expositions: [() => this.#registered(), ...more], failed });
  }

  async *#registered(): AsyncGenerator<string> {
    this.weir.refresh(this.#observed.synced());
    yield await this.#registry.metrics();
  }
}
