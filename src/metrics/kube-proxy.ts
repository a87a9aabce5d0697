/** The metrics that dashboards and alerts expect of a kube-proxy, under its names and with its types (pkg/proxy/metrics). */
import { Counter, exponentialBuckets, Gauge, Histogram, linearBuckets, type Registry } from 'prom-client';
import type { DesiredService } from '../core/desired.js';
import type { HealthPath } from '../core/health.js';
import type { Change } from '../core/model.js';
import { type NoLocalEndpoints, noLocalEndpoints } from '../core/no-local-endpoints.js';

/** A sync that has brought everything known to the kernel. */
export interface SyncMeasure {
  /** Every service was compared, not only those that had changed. */
  readonly full: boolean;
  readonly seconds: number;
  /** ms since 1970 of its end. */
  readonly now: number;
}

const SYNC_BUCKETS = exponentialBuckets(0.001, 2, 15);
const PROGRAMMING_BUCKETS = [
  ...linearBuckets(0.25, 0.25, 2),
  ...linearBuckets(1, 1, 59),
  ...linearBuckets(60, 5, 12),
  ...linearBuckets(120, 30, 7),
];

export class KubeProxyMetrics {
  readonly #begun: number;
  readonly #all: Histogram;
  readonly #full: Histogram;
  readonly #partial: Histogram;
  readonly #programming: Histogram;
  readonly #lastSync: Gauge;
  readonly #lastQueued: Gauge;
  readonly #pending: Readonly<Record<'Service' | 'EndpointSlice', Gauge>>;
  readonly #total: Readonly<Record<'Service' | 'EndpointSlice', Counter>>;
  readonly #noLocal: Gauge<'traffic_policy'>;
  readonly #answers: Readonly<Record<'/healthz' | '/livez', Counter<'code'>>>;
  /** Times at which the cluster changed what is not in the kernel yet, ms since 1970. */
  #triggers: number[] = [];
  /** Service ports without an endpoint here, of the services that have such. */
  readonly #lonely = new Map<string, NoLocalEndpoints>();

  /** `begun`: ms since 1970 from which on changes count as news. */
  constructor(registry: Registry, begun: number) {
    this.#begun = begun;
    const registers = [registry];
    const histogram = (name: string, help: string, buckets: number[]): Histogram =>
      new Histogram({ name: `kubeproxy_${name}`, help, buckets, registers });
    const gauge = (name: string, help: string): Gauge => new Gauge({ name: `kubeproxy_${name}`, help, registers });
    const counter = (name: string, help: string): Counter =>
      new Counter({ name: `kubeproxy_${name}`, help, registers });
    const answers = (name: string): Counter<'code'> => {
      const help = `Answers of ${name} by HTTP status`;
      return new Counter({ name: `kubeproxy_proxy_${name}_total`, help, labelNames: ['code'], registers });
    };
    this.#all = histogram('sync_proxy_rules_duration_seconds', 'Syncs of the kernel, in seconds', SYNC_BUCKETS);
    const full = 'Syncs that compared every service, in seconds';
    this.#full = histogram('sync_full_proxy_rules_duration_seconds', full, SYNC_BUCKETS);
    const partial = 'Syncs of what had changed, in seconds';
    this.#partial = histogram('sync_partial_proxy_rules_duration_seconds', partial, SYNC_BUCKETS);
    const programming = 'From the change of a pod or service to its being in the kernel, in seconds';
    this.#programming = histogram('network_programming_duration_seconds', programming, PROGRAMMING_BUCKETS);
    this.#lastSync = gauge('sync_proxy_rules_last_timestamp_seconds', 'When the last sync succeeded');
    this.#lastQueued = gauge('sync_proxy_rules_last_queued_timestamp_seconds', 'When the last sync was asked for');
    this.#pending = {
      Service: gauge('sync_proxy_rules_service_changes_pending', 'Changes of services not in the kernel'),
      EndpointSlice: gauge('sync_proxy_rules_endpoint_changes_pending', 'Changes of endpoints not in the kernel'),
    };
    this.#total = {
      Service: counter('sync_proxy_rules_service_changes_total', 'Changes of services'),
      EndpointSlice: counter('sync_proxy_rules_endpoint_changes_total', 'Changes of endpoints'),
    };
    this.#noLocal = new Gauge({
      name: 'kubeproxy_sync_proxy_rules_no_local_endpoints_total',
      help: 'Service ports with a Local traffic policy that have endpoints, but none on this node',
      labelNames: ['traffic_policy'],
      registers,
    });
    this.#answers = { '/healthz': answers('healthz'), '/livez': answers('livez') };
    this.#countLonely();
  }

  /** Objects have changed; now in ms since 1970. */
  changed(changes: readonly Change[], now: number): void {
    this.#lastQueued.set(now / 1000);
    for (const change of changes) {
      const kind = change.op === 'set' ? change.resource.kind : change.kind;
      if (kind !== 'Service' && kind !== 'EndpointSlice') continue;
      this.#total[kind].inc();
      this.#pending[kind].inc();
      if (change.op !== 'set' || change.resource.kind !== 'EndpointSlice') continue;
      /* what happened before this agent began says nothing of its speed */
      if (change.resource.triggered >= this.#begun) this.#triggers.push(change.resource.triggered);
    }
  }

  /** Services as they are now wanted, and those that are gone. */
  desired(desired: readonly DesiredService[], gone: readonly string[]): void {
    for (const key of gone) this.#lonely.delete(key);
    for (const service of desired) {
      const lonely = noLocalEndpoints(service);
      if (lonely.internal + lonely.external > 0) this.#lonely.set(service.key, lonely);
      else this.#lonely.delete(service.key);
    }
    this.#countLonely();
  }

  /** All changes so far are in the kernel. */
  synced({ full, seconds, now }: SyncMeasure): void {
    this.#all.observe(seconds);
    (full ? this.#full : this.#partial).observe(seconds);
    this.#lastSync.set(now / 1000);
    for (const time of this.#triggers) this.#programming.observe(Math.max(0, now - time) / 1000);
    this.#triggers = [];
    this.#pending.Service.set(0);
    this.#pending.EndpointSlice.set(0);
  }

  answered(path: HealthPath, code: number): void {
    if (path !== '/readyz') this.#answers[path].inc({ code });
  }

  #countLonely(): void {
    let [internal, external] = [0, 0];
    for (const lonely of this.#lonely.values()) {
      internal += lonely.internal;
      external += lonely.external;
    }
    this.#noLocal.set({ traffic_policy: 'internal' }, internal);
    this.#noLocal.set({ traffic_policy: 'external' }, external);
  }
}
