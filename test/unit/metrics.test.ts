import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { request } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { Registry } from 'prom-client';
import { noLocalEndpoints } from '../../src/core/no-local-endpoints.js';
import { Store } from '../../src/core/store.js';
import { KubeProxyMetrics } from '../../src/metrics/kube-proxy.js';
import { Metrics } from '../../src/metrics/metrics.js';
import { type Exposition, serveMetrics } from '../../src/metrics/server.js';
import type { Measures } from '../../src/metrics/weir.js';
import { endpoint, ips, service, settings, slice } from '../helpers/model.js';
import { parseMetrics, type Family } from '../helpers/prometheus.js';
import { settled } from '../helpers/settled.js';

const BEGUN = Date.UTC(2026, 10, 21);
const MEASURES: Measures = {
  reasons: [
    { reason: 'no-endpoint', drop: true, packets: 3, bytes: 180 },
    { reason: 'forwarded-dsr', drop: false, packets: 70, bytes: 7000 },
  ],
  maps: [{ map: 'weir_backends', entries: 5, capacity: 100 }],
  devices: [{ role: 'uplink', count: 2 }],
  generation: 7,
};

function kubeProxy(): { metrics: KubeProxyMetrics; read: () => Promise<Map<string, Family>> } {
  const registry = new Registry();
  return { metrics: new KubeProxyMetrics(registry, BEGUN), read: async () => parseMetrics(await registry.metrics()) };
}

/** Names and types as kube-proxy 1.35 registers them (pkg/proxy/metrics/metrics.go). */
const EXPECTED: Readonly<Record<string, string>> = {
  kubeproxy_sync_proxy_rules_duration_seconds: 'histogram',
  kubeproxy_sync_full_proxy_rules_duration_seconds: 'histogram',
  kubeproxy_sync_partial_proxy_rules_duration_seconds: 'histogram',
  kubeproxy_sync_proxy_rules_last_timestamp_seconds: 'gauge',
  kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds: 'gauge',
  kubeproxy_network_programming_duration_seconds: 'histogram',
  kubeproxy_sync_proxy_rules_endpoint_changes_pending: 'gauge',
  kubeproxy_sync_proxy_rules_endpoint_changes_total: 'counter',
  kubeproxy_sync_proxy_rules_service_changes_pending: 'gauge',
  kubeproxy_sync_proxy_rules_service_changes_total: 'counter',
  kubeproxy_sync_proxy_rules_no_local_endpoints_total: 'gauge',
  kubeproxy_proxy_healthz_total: 'counter',
  kubeproxy_proxy_livez_total: 'counter',
};

test("kube-proxy's metrics have its names, types and buckets", async (t) => {
  const { read } = kubeProxy();
  const families = await read();
  t.deepEqual(Object.fromEntries([...families].map(([name, { type }]) => [name, type])), EXPECTED);
  const limits = (name: string): string[] =>
    families
      .get(name)!
      .samples.filter(({ labels }) => 'le' in labels)
      .map(({ labels }) => labels['le'] ?? '');
  const programming = limits('kubeproxy_network_programming_duration_seconds');
  const seconds = Array.from({ length: 59 }, (_, i) => `${i + 1}`);
  const fives = Array.from({ length: 12 }, (_, i) => `${60 + 5 * i}`);
  const thirties = Array.from({ length: 7 }, (_, i) => `${120 + 30 * i}`);
  t.deepEqual(programming, ['0.25', '0.5', ...seconds, ...fives, ...thirties, '+Inf']);
  t.is(limits('kubeproxy_sync_proxy_rules_duration_seconds')[0], '0.001');
  t.is(limits('kubeproxy_sync_proxy_rules_duration_seconds').at(-2), '16.384');
});

test('changes wait until they are in the kernel, and the time since their cause is measured then', async (t) => {
  const { metrics, read } = kubeProxy();
  const value = async (name: string): Promise<number | undefined> => (await read()).get(`kubeproxy_${name}`)?.value();
  metrics.changed(
    [
      { op: 'set', resource: service('web') },
      { op: 'set', resource: slice('web', [], { triggered: BEGUN + 1000 }) },
      { op: 'set', resource: slice('old', [], { triggered: BEGUN - 1 }) },
      { op: 'set', resource: slice('unknown', []) },
      { op: 'delete', kind: 'EndpointSlice', namespace: 'shop', name: 'gone' },
    ],
    BEGUN + 2000,
  );
  t.is(await value('sync_proxy_rules_service_changes_pending'), 1);
  t.is(await value('sync_proxy_rules_endpoint_changes_pending'), 4);
  t.is(await value('sync_proxy_rules_last_queued_timestamp_seconds'), BEGUN / 1000 + 2);
  metrics.synced({ full: true, seconds: 0.5, now: BEGUN + 3500 });
  metrics.synced({ full: false, seconds: 0.01, now: BEGUN + 4000 });
  t.is(await value('sync_proxy_rules_service_changes_pending'), 0);
  t.is(await value('sync_proxy_rules_endpoint_changes_pending'), 0);
  t.is(await value('sync_proxy_rules_service_changes_total'), 1);
  t.is(await value('sync_proxy_rules_endpoint_changes_total'), 4);
  t.is(await value('sync_proxy_rules_last_timestamp_seconds'), BEGUN / 1000 + 4);
  const families = await read();
  const count = (name: string): unknown => families.get(`kubeproxy_${name}`)?.value('_count');
  t.is(count('sync_proxy_rules_duration_seconds'), 2);
  t.is(count('sync_full_proxy_rules_duration_seconds'), 1);
  t.is(count('sync_partial_proxy_rules_duration_seconds'), 1);
  t.is(count('network_programming_duration_seconds'), 1, 'causes before the start, and none, say nothing');
  t.is(families.get('kubeproxy_network_programming_duration_seconds')?.value('_sum'), 2.5);
});

test('answers to probes are counted by status', async (t) => {
  const { metrics, read } = kubeProxy();
  metrics.answered('/healthz', 200);
  metrics.answered('/healthz', 503);
  metrics.answered('/healthz', 503);
  metrics.answered('/livez', 200);
  metrics.answered('/readyz', 200);
  const families = await read();
  t.is(families.get('kubeproxy_proxy_healthz_total')?.value('', { code: '503' }), 2);
  t.is(families.get('kubeproxy_proxy_healthz_total')?.value('', { code: '200' }), 1);
  t.is(families.get('kubeproxy_proxy_livez_total')?.value('', { code: '200' }), 1);
});

test('service ports that policy Local leaves without endpoints here are counted while they are so', async (t) => {
  const { metrics, read } = kubeProxy();
  const store = new Store();
  const value = async (policy: string): Promise<number | undefined> =>
    (await read()).get('kubeproxy_sync_proxy_rules_no_local_endpoints_total')?.value('', { traffic_policy: policy });
  const addresses = { clusterIps: ips('10.96.0.1'), externalIps: ips('192.0.2.1', '2001:db8::9') };
  const flush = (): void => {
    const { desired, gone } = store.take(settings());
    metrics.desired(desired, gone);
  };
  const set = (fields: object, endpoints: Parameters<typeof slice>[1]): void => {
    store.apply([
      { op: 'set', resource: service('web', { ...addresses, ...fields }) },
      { op: 'set', resource: slice('web', endpoints) },
    ]);
    flush();
  };
  const there = endpoint('10.1.0.1');
  set({ externalTrafficPolicy: 'Local' }, [there]);
  t.deepEqual([await value('internal'), await value('external')], [0, 1]);
  set({ externalTrafficPolicy: 'Local', internalTrafficPolicy: 'Local' }, [there]);
  t.deepEqual([await value('internal'), await value('external')], [1, 1]);
  set({ externalTrafficPolicy: 'Local', internalTrafficPolicy: 'Local' }, []);
  t.deepEqual([await value('internal'), await value('external')], [0, 0], 'nobody serves it anywhere');
  set({ externalTrafficPolicy: 'Local' }, [there, endpoint('10.1.0.2', { nodeName: 'node-1' })]);
  t.deepEqual([await value('internal'), await value('external')], [0, 0]);
  set({ internalTrafficPolicy: 'Local' }, [there]);
  t.deepEqual([await value('internal'), await value('external')], [1, 0]);
  store.apply([{ op: 'delete', kind: 'Service', namespace: 'shop', name: 'web' }]);
  flush();
  t.deepEqual([await value('internal'), await value('external')], [0, 0]);
});

test('a service port counts once, however many of its addresses are concerned', (t) => {
  const store = new Store();
  const fields = { externalIps: ips('192.0.2.1', '192.0.2.2'), externalTrafficPolicy: 'Local' } as const;
  store.apply([
    { op: 'set', resource: service('web', fields) },
    { op: 'set', resource: slice('web', ['10.1.0.1']) },
  ]);
  t.deepEqual(store.take(settings()).desired.map(noLocalEndpoints), [{ internal: 0, external: 1 }]);
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function serving(
  t: ExecutionContext,
  more: readonly Exposition[] = [],
): Promise<{ url: string; said: string[] }> {
  const said: string[] = [];
  const observed = { measure: () => MEASURES, services: () => 4, synced: () => true };
  const metrics = new Metrics({ version: '1.2.3', dataplane: 'bpf' }, observed);
  const port = await freePort();
  const server = metrics.serve({ address: '127.0.0.1', port }, (reason) => said.push(reason), more);
  t.teardown(() => server[Symbol.asyncDispose]());
  const url = `http://127.0.0.1:${port}`;
  await settled('server', async () => (await fetch(`${url}/nothing`).catch(() => undefined))?.status === 404);
  return { url, said };
}

test('a scrape has what the dataplane says now, however often it is asked', async (t) => {
  const { url } = await serving(t);
  for (let i = 0; i < 2; i++) {
    const response = await fetch(`${url}/metrics`);
    t.regex(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
    const families = parseMetrics(await response.text());
    const value = (name: string, labels = {}): number | undefined => families.get(name)?.value('', labels);
    t.is(value('weir_packets_total', { reason: 'forwarded-dsr' }), 70);
    t.is(value('weir_bytes_total', { reason: 'no-endpoint' }), 180);
    t.is(value('weir_drops_total', { reason: 'no-endpoint' }), 3);
    t.is(value('weir_drops_total', { reason: 'forwarded-dsr' }), undefined);
    t.is(value('weir_map_entries', { map: 'weir_backends' }), 5);
    t.is(value('weir_map_capacity', { map: 'weir_backends' }), 100);
    t.is(value('weir_attached_devices', { role: 'uplink' }), 2);
    t.is(value('weir_generation'), 7);
    t.is(value('weir_services'), 4);
    t.is(value('weir_synced'), 1);
    t.is(value('weir_build_info', { version: '1.2.3', dataplane: 'bpf' }), 1);
    t.true((value('process_resident_memory_bytes') ?? 0) > 1e6);
    t.is(families.get('weir_packets_total')?.type, 'counter');
  }
});

test('/proxyMode tells which dataplane this is', async (t) => {
  const { url } = await serving(t);
  const response = await fetch(`${url}/proxyMode`);
  t.is(response.status, 200);
  t.is(await response.text(), 'weir-bpf');
});

test('a collector of a hundred thousand lines holds up nobody: the loop turns between its pieces', async (t) => {
  let [turns, between] = [0, 0];
  const lines = function* (): Generator<string> {
    for (let piece = 0; piece < 500; piece++) {
      const before = turns;
      yield Array.from({ length: 200 }, (_, i) => `weir_test{piece="${piece}",line="${i}"} 1\n`).join('');
      if (turns > before) between++;
    }
  };
  const { url } = await serving(t, [lines]);
  let ended = false;
  const count = (): void => {
    turns++;
    if (!ended) setImmediate(count);
  };
  count();
  const families = parseMetrics(await (await fetch(`${url}/metrics`)).text());
  ended = true;
  t.is(families.get('weir_test')?.samples.length, 100_000);
  t.is(between, 500, 'between any two pieces');
});

test('a scrape whose collector fails is cut off, not passed for a whole one', async (t) => {
  const failing = function* (): Generator<string> {
    yield 'weir_test 1\n';
    throw new Error('no such table');
  };
  const { url, said } = await serving(t, [failing]);
  await t.throwsAsync(fetch(`${url}/metrics`).then((response) => response.text()));
  t.deepEqual(said, ['read metrics: no such table']);
  t.is((await fetch(`${url}/proxyMode`)).status, 200);
});

test('a scraper that goes away in the middle ends the collection', async (t) => {
  const port = await freePort();
  let [pieces, done] = [0, false];
  const endless = function* (): Generator<string> {
    try {
      for (;;) {
        pieces++;
        yield 'x'.repeat(100_000);
      }
    } finally {
      done = true;
    }
  };
  const place = { address: '127.0.0.1', port };
  const server = serveMetrics(place, { proxyMode: '', expositions: [endless], failed: (reason) => t.fail(reason) });
  t.teardown(() => server[Symbol.asyncDispose]());
  await settled('server', async () => (await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined)) !== undefined);
  const scrape = request({ host: '127.0.0.1', port, path: '/metrics' }, (response) =>
    response.on('error', () => undefined),
  );
  scrape.on('error', () => undefined).end();
  await settled('pieces', () => pieces > 3);
  scrape.destroy();
  await settled('end', () => done);
  t.true(done);
});
