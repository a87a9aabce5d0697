import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { Source } from '../../src/core/model.js';
import { kubernetesSource, type KubernetesTiming } from '../../src/watch/kubernetes.js';
import { Mirror } from '../helpers/mirror.js';
import {
  COLLECTIONS,
  MisbehavingApi,
  NAMESPACES,
  NODES,
  PODS,
  POLICIES,
  SERVICES,
  SLICES,
} from '../helpers/misbehaving-api.js';
import { rawNamespace, rawNode, rawPod, rawPolicy, rawService, rawSlice } from '../helpers/samples.js';

/** Short enough to wait for, and far enough apart to tell one from the other. */
const TIMING: Partial<KubernetesTiming> = {
  backoffMs: [20, 200],
  connectMs: 500,
  responseMs: 500,
  silenceMs: 300,
  pageSize: 2,
};

interface World {
  readonly api: MisbehavingApi;
  readonly mirror: Mirror;
  start(options?: {
    apiserver?: string;
    remembered?: string;
    nodeName?: string;
    timing?: Partial<KubernetesTiming>;
  }): Promise<Source>;
  /** Addresses that the source wanted remembered. */
  readonly remembered: readonly string[];
  stop(): Promise<void>;
  /** Started, synced, and watching all collections. */
  ready(): Promise<void>;
}

/** An API server with service shop/web, its slice and one node, and a source that is not yet started. */
async function world(t: ExecutionContext): Promise<World> {
  const api = await MisbehavingApi.start();
  api.set(SERVICES, rawService('web', 1));
  api.set(SLICES, rawSlice('web', ['10.1.0.1']));
  api.set(NODES, rawNode('node-1', '192.0.2.9'));
  const directory = await mkdtemp(join(tmpdir(), 'weir-kubernetes-'));
  const kubeconfig = join(directory, 'kubeconfig');
  await writeFile(kubeconfig, configFor(api.url));
  await writeFile(join(directory, 'token'), 'secret-1');
  const mirror = new Mirror();
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(stops.splice(0).map((each) => each()));
  };
  t.teardown(async () => {
    await stop();
    await api.close();
    await rm(directory, { recursive: true, force: true });
  });
  const addresses: string[] = [];
  const remember = (address: string): void => void addresses.push(address);
  const start: World['start'] = async ({ timing, ...options } = {}) => {
    const source = kubernetesSource({ kubeconfig, ...options, remember, timing: { ...TIMING, ...timing } });
    stops.push(() => source.stop());
    await source.start(mirror);
    return source;
  };
  const watching = (): boolean => COLLECTIONS.every((path) => api.watching(path) > 0);
  const ready = async (): Promise<void> => {
    await start();
    await mirror.until('sync', () => mirror.syncs === 1 && watching());
  };
  return { api, mirror, start, stop, ready, remembered: addresses };
}

function configFor(server: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [{ name: 'test', cluster: { server } }],
    users: [{ name: 'test', user: { tokenFile: 'token' } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
  });
}

const ALL = ['EndpointSlice/shop/web-1', 'Node//node-1', 'Service/shop/web'];
const lists = (api: MisbehavingApi, path: string): number =>
  api.requests.filter((seen) => seen.path === path && !seen.query.has('watch')).length;
const clusterIp = (mirror: Mirror): unknown => {
  const service = mirror.state.get('Service/shop/web');
  return service?.kind === 'Service' ? service.clusterIps[0] : undefined;
};

test('everything that is there is told before synced, then every change as it happens', async (t) => {
  const { api, mirror, ready } = await world(t);
  await ready();
  t.deepEqual(mirror.keys, ALL);
  t.is(mirror.syncs, 1);
  api.set(SERVICES, rawService('api', 2));
  await mirror.until('addition', () => mirror.keys.includes('Service/shop/api'));
  api.set(SERVICES, rawService('web', 9));
  await mirror.until('change', () => clusterIp(mirror) === '10.96.0.9');
  api.delete(SERVICES, rawService('api', 2));
  await mirror.until('removal', () => !mirror.keys.includes('Service/shop/api'));
  t.deepEqual(mirror.problems, []);
});

test('a long list is read in pages', async (t) => {
  const { api, mirror, ready } = await world(t);
  for (let i = 0; i < 7; i++) api.set(SERVICES, rawService(`s${i}`, 10 + i));
  await ready();
  t.is(mirror.keys.filter((key) => key.startsWith('Service/')).length, 8);
  t.is(lists(api, SERVICES), 4);
});

test('a list asks for the newest state, a watch for bookmarks and for an end between five and ten minutes', async (t) => {
  const { api, ready } = await world(t);
  await ready();
  const list = api.requests.find((seen) => !seen.query.has('watch'));
  t.false(list?.query.has('resourceVersion'));
  const watch = api.requests.find((seen) => seen.query.has('watch'));
  t.is(watch?.query.get('allowWatchBookmarks'), 'true');
  const seconds = Number(watch?.query.get('timeoutSeconds'));
  t.true(seconds >= 300 && seconds <= 600, `${seconds}`);
});

test('the token file that a kubeconfig names, relative to itself, is what the server is shown', async (t) => {
  const { api, ready } = await world(t);
  await ready();
  t.deepEqual([...new Set(api.requests.map((seen) => seen.authorization))], ['Bearer secret-1']);
});

for (const how of ['end', 'cut'] as const) {
  test(`a watch that is dropped (${how}) is resumed without a new list and loses no event`, async (t) => {
    const { api, mirror, ready } = await world(t);
    await ready();
    const before = lists(api, SERVICES);
    await api.dropWatches(how);
    api.set(SERVICES, rawService('web', 7));
    await mirror.until('change', () => clusterIp(mirror) === '10.96.0.7');
    t.is(lists(api, SERVICES), before);
    t.deepEqual(mirror.problems, []);
  });
}

for (const goneAs of ['status', 'event'] as const) {
  test(`an expired version (410 as ${goneAs}) leads to a new list that finds what vanished`, async (t) => {
    const { api, mirror, ready } = await world(t);
    api.set(SERVICES, rawService('old', 3));
    await ready();
    api.goneAs = goneAs;
    api.goSilent();
    api.delete(SERVICES, rawService('old', 3));
    api.set(SERVICES, rawService('new', 4));
    api.compact();
    await api.dropWatches('end');
    await mirror.until('new list', () => mirror.keys.includes('Service/shop/new'));
    t.false(mirror.keys.includes('Service/shop/old'));
    t.deepEqual(mirror.problems, []);
    t.is(mirror.syncs, 1);
  });
}

test('a bookmark moves the place to resume from, so that an old version need not expire', async (t) => {
  const { api, mirror, ready } = await world(t);
  await ready();
  api.compact();
  for (const path of COLLECTIONS) api.bookmark(path);
  const before = lists(api, SERVICES);
  await api.dropWatches('end');
  api.set(SERVICES, rawService('web', 7));
  await mirror.until('change', () => clusterIp(mirror) === '10.96.0.7');
  t.is(lists(api, SERVICES), before);
});

test('half a line at the end of a watch is dropped and what it would have said is read again', async (t) => {
  const { api, mirror, ready } = await world(t);
  await ready();
  const before = lists(api, SERVICES);
  api.send(SERVICES, '{"type":"MODIFIED","object":{"metadata":{"name":"we');
  await api.dropWatches('end');
  api.set(SERVICES, rawService('web', 8));
  await mirror.until('change', () => clusterIp(mirror) === '10.96.0.8');
  t.is(lists(api, SERVICES), before);
  t.deepEqual(mirror.problems, []);
});

test('an event that arrives in pieces, in the middle of a letter, is read whole', async (t) => {
  const { api, mirror, ready } = await world(t);
  await ready();
  const object = {
    ...rawService('web', 6),
    metadata: {
      name: 'web',
      namespace: 'shop',
      resourceVersion: '900',
      annotations: { 'weir.io/note': 'é'.repeat(10) },
    },
  };
  const line = Buffer.from(`${JSON.stringify({ type: 'MODIFIED', object })}\n`);
  for (let i = 0; i < line.length; i += 7) {
    api.send(SERVICES, line.subarray(i, i + 7));
    await sleep(1);
  }
  await mirror.until('change', () => clusterIp(mirror) === '10.96.0.6');
  t.like(mirror.state.get('Service/shop/web'), { annotations: { 'weir.io/note': 'é'.repeat(10) } });
});

test('a line that is no event is reported and answered with a new list', async (t) => {
  const { api, mirror, ready } = await world(t);
  await ready();
  const before = lists(api, SERVICES);
  api.send(SERVICES, '<html>bad gateway</html>\n');
  await mirror.until('new list', () => lists(api, SERVICES) > before);
  t.regex(mirror.problems[0]?.message ?? '', /not JSON.*bad gateway/);
  api.set(SERVICES, rawService('web', 5));
  await mirror.until('change', () => clusterIp(mirror) === '10.96.0.5');
});

test('an event that is repeated, or changes nothing that matters, tells nothing', async (t) => {
  const { api, mirror, ready } = await world(t);
  await ready();
  api.set(SERVICES, rawService('web', 5));
  await mirror.until('change', () => clusterIp(mirror) === '10.96.0.5');
  const before = mirror.batches.length;
  api.repeatLast(SERVICES);
  api.set(SERVICES, rawService('web', 5));
  api.set(NODES, rawNode('node-1', '192.0.2.9'));
  await sleep(100);
  t.is(mirror.batches.length, before);
});

test('a burst of events arrives in few batches, each object once with its last version', async (t) => {
  const { api, mirror, ready } = await world(t);
  await ready();
  const before = mirror.batches.length;
  for (let i = 0; i < 200; i++) api.set(SERVICES, rawService(`s${i % 20}`, i));
  await mirror.until('burst', () => mirror.keys.length === 23);
  await sleep(50);
  t.true(mirror.batches.length - before < 20, `${mirror.batches.length - before} batches`);
  t.like(mirror.state.get('Service/shop/s19'), { clusterIps: ['10.96.0.199'] });
});

test('a server that falls silent is left after the deadline and asked again', async (t) => {
  const { api, mirror, ready } = await world(t);
  await ready();
  api.goSilent();
  api.set(SERVICES, rawService('web', 4));
  await mirror.until('change', () => clusterIp(mirror) === '10.96.0.4', 3000);
  t.deepEqual(mirror.problems, []);
});

test('a server that fails keeps everything in force, and is reported once when it fails and once when it is back', async (t) => {
  const { api, mirror, ready } = await world(t);
  await ready();
  api.refuse(() => ({ status: 503, body: 'etcd is away' }));
  await api.dropWatches('cut');
  await mirror.until('problems', () => mirror.problems.length >= COLLECTIONS.length);
  await sleep(400);
  t.is(mirror.problems.length, COLLECTIONS.length, 'one for each collection');
  t.like(mirror.problems[0], { object: 'API server', code: 'WEIR_API' });
  t.regex(mirror.problems[0]?.message ?? '', /503 .*etcd is away/);
  t.deepEqual(mirror.keys, ALL);
  api.refuse(() => undefined);
  await mirror.until('return', () => mirror.infos.length >= COLLECTIONS.length);
  api.set(SERVICES, rawService('web', 3));
  await mirror.until('change', () => clusterIp(mirror) === '10.96.0.3');
});

test('a server that is away at the start is waited for, and reported once for all collections', async (t) => {
  const { api, mirror, start } = await world(t);
  const { port } = api;
  await api.close();
  await start();
  await mirror.until('problem', () => mirror.problems.length > 0);
  await sleep(300);
  t.is(mirror.problems.length, 1);
  t.is(mirror.syncs, 0);
  const again = await MisbehavingApi.start(port);
  t.teardown(() => again.close());
  again.set(SERVICES, rawService('web', 1));
  await mirror.until('sync', () => mirror.syncs === 1);
  await mirror.until('good news', () => mirror.infos.includes('API server: answers again'));
  t.deepEqual(mirror.keys, ['Service/shop/web']);
});

for (const status of [401, 403]) {
  test(`a refusal (${status}) names what may not be done, and does not hold up the other collections`, async (t) => {
    const { api, mirror, start } = await world(t);
    const body = JSON.stringify({ kind: 'Status', message: 'User "weir" cannot list resource "nodes"' });
    api.refuse(({ path }) => (path === NODES ? { status, body } : undefined));
    await start();
    await mirror.until('others', () => mirror.keys.length === 2 && mirror.problems.length > 0);
    await sleep(200);
    t.is(mirror.problems.length, 1);
    t.like(mirror.problems[0], { object: 'API server', field: 'list nodes' });
    t.regex(mirror.problems[0]?.message ?? '', new RegExp(`^${status} .*cannot list resource "nodes"`));
    t.is(mirror.syncs, 0);
    api.refuse(() => undefined);
    await mirror.until('sync', () => mirror.syncs === 1);
  });
}

test('a server that asks for patience is not called again before the time it names', async (t) => {
  const { api, mirror, start } = await world(t);
  let calls = 0;
  api.refuse(({ path }) =>
    path === NODES && calls++ === 0 ? { status: 429, body: 'slow down', headers: { 'Retry-After': '1' } } : undefined,
  );
  const began = performance.now();
  await start();
  await mirror.until('sync', () => mirror.syncs === 1);
  t.true(performance.now() - began >= 990);
});

test('a list that breaks off in the middle changes nothing, and is read again from the start', async (t) => {
  const { api, mirror, start } = await world(t);
  for (let i = 0; i < 5; i++) api.set(SERVICES, rawService(`s${i}`, 10 + i));
  let failures = 3;
  api.refuse(({ query }) => (query.has('continue') && failures-- > 0 ? { status: 500, body: 'no' } : undefined));
  await start();
  await mirror.until('sync', () => mirror.syncs === 1);
  t.is(mirror.keys.filter((key) => key.startsWith('Service/')).length, 6);
});

test('an object that becomes invalid keeps its last good version until it is mended or deleted', async (t) => {
  const { api, mirror, ready } = await world(t);
  await ready();
  api.set(SERVICES, rawService('web', 2, { ports: [{ port: 0 }] }));
  await mirror.until('problem', () => mirror.problems.length > 0);
  t.like(mirror.problems[0], { object: 'Service shop/web', field: 'spec.ports[0].port' });
  t.is(clusterIp(mirror), '10.96.0.1');
  api.delete(SERVICES, rawService('web', 2, { ports: [{ port: 0 }] }));
  await mirror.until('removal', () => !mirror.keys.includes('Service/shop/web'));
});

const POLICY_OBJECTS = ['Namespace//shop', 'NetworkPolicy/shop/deny', 'Pod/shop/web'];
const denied = (spec: object = {}): Record<string, unknown> => rawPolicy('deny', { policyTypes: ['Ingress'], ...spec });

test('pods, namespaces and network policies are followed as everything else is', async (t) => {
  const { api, mirror, ready } = await world(t);
  api.set(PODS, rawPod('web', '10.1.0.1'));
  api.set(NAMESPACES, rawNamespace('shop', { team: 'a' }));
  api.set(POLICIES, denied());
  await ready();
  t.deepEqual(mirror.keys, [...ALL, ...POLICY_OBJECTS].sort());
  api.set(PODS, rawPod('web', '10.1.0.9'));
  api.set(NAMESPACES, rawNamespace('shop', { team: 'b' }));
  await mirror.until('changes', () => {
    const [pod, namespace] = ['Pod/shop/web', 'Namespace//shop'].map((key) => mirror.state.get(key));
    const moved = pod?.kind === 'Pod' && pod.addresses[0] === '10.1.0.9';
    return moved && namespace?.kind === 'Namespace' && namespace.labels['team'] === 'b';
  });
  api.delete(POLICIES, denied());
  api.delete(PODS, rawPod('web', '10.1.0.9'));
  await mirror.until('removal', () => mirror.keys.length === ALL.length + 1);
  t.deepEqual(mirror.problems, []);
});

test('what a pod reports besides that is no news', async (t) => {
  const { api, mirror, ready } = await world(t);
  api.set(PODS, rawPod('web', '10.1.0.1'));
  await ready();
  const before = mirror.batches.length;
  const { status } = rawPod('web', '10.1.0.1') as { status: object };
  api.set(PODS, rawPod('web', '10.1.0.1', { status: { ...status, conditions: [{ type: 'Ready', status: 'True' }] } }));
  api.set(PODS, rawPod('api', '10.1.0.2'));
  await mirror.until('the other', () => mirror.keys.includes('Pod/shop/api'));
  t.deepEqual(
    mirror.batches.slice(before).flatMap((batch) => batch.map((change) => change.op === 'set' && change.resource.name)),
    ['api'],
  );
});

test('a policy that becomes invalid keeps its last good version, and pods that vanish unseen are found gone', async (t) => {
  const { api, mirror, ready } = await world(t);
  api.set(PODS, rawPod('web', '10.1.0.1'));
  api.set(POLICIES, denied());
  await ready();
  api.set(POLICIES, denied({ ingress: [{ from: [{}] }] }));
  await mirror.until('problem', () => mirror.problems.length > 0);
  t.like(mirror.problems[0], { object: 'NetworkPolicy shop/deny', field: 'spec.ingress[0].from[0]' });
  t.like(mirror.state.get('NetworkPolicy/shop/deny'), { ingress: [] });
  api.goSilent();
  api.delete(PODS, rawPod('web', '10.1.0.1'));
  api.compact();
  await api.dropWatches('end');
  await mirror.until('removal', () => !mirror.keys.includes('Pod/shop/web'));
  t.true(mirror.keys.includes('NetworkPolicy/shop/deny'));
});

test('an account that may not list network policies is named, and nothing is held to be complete', async (t) => {
  const { api, mirror, start } = await world(t);
  const body = JSON.stringify({ kind: 'Status', message: 'cannot list resource "networkpolicies"' });
  api.refuse(({ path }) => (path === POLICIES ? { status: 403, body } : undefined));
  await start();
  await mirror.until('problem', () => mirror.problems.length > 0 && mirror.keys.length === ALL.length);
  t.like(mirror.problems[0], { object: 'API server', field: 'list networkpolicies.networking.k8s.io' });
  t.is(mirror.syncs, 0);
});

const BROKEN = { ports: [{ port: 0 }] };

test('a broken object is reported once, over new lists too, and again when it was mended or gone in between', async (t) => {
  const { api, mirror, ready } = await world(t);
  api.set(SERVICES, rawService('never-good', 3, BROKEN));
  await ready();
  t.is(mirror.problems.length, 1);
  t.deepEqual(mirror.problems[0]?.event, {
    about: { kind: 'Service', namespace: 'shop', name: 'never-good', uid: '' },
    reason: 'InvalidObject',
  });
  const relist = async (): Promise<void> => {
    const before = lists(api, SERVICES);
    api.compact();
    await api.dropWatches('end');
    await mirror.until('new list', () => lists(api, SERVICES) > before && api.watching(SERVICES) > 0);
  };
  await relist();
  t.is(mirror.problems.length, 1, 'not repeated');
  api.goSilent();
  api.delete(SERVICES, rawService('never-good', 3, BROKEN));
  await relist();
  api.set(SERVICES, rawService('never-good', 3, BROKEN));
  await mirror.until('problem', () => mirror.problems.length === 2);
  api.set(SERVICES, rawService('never-good', 3));
  await mirror.until('repair', () => mirror.keys.includes('Service/shop/never-good'));
  api.set(SERVICES, rawService('never-good', 3, BROKEN));
  await mirror.until('problem', () => mirror.problems.length === 3);
});

const EVENTS = '/apis/events.k8s.io/v1/namespaces/shop/events';

test('a problem becomes an Event, and a server that will not have it is none the worse a source', async (t) => {
  const { api, mirror, start } = await world(t);
  const source = await start({ nodeName: 'node-1' });
  await mirror.until('sync', () => mirror.syncs === 1 && api.watching(SERVICES) > 0);
  api.refuse(({ path }) => (path === EVENTS ? { status: 503, body: 'busy' } : undefined));
  api.set(SERVICES, rawService('web', 2, BROKEN));
  await mirror.until('problem', () => mirror.problems.length === 1);
  const [problem] = mirror.problems;
  if (problem) source.publish?.(problem);
  await mirror.until('refusal', () => api.requests.some(({ path }) => path === EVENTS));
  api.refuse(() => undefined);
  if (problem) source.publish?.(problem);
  await mirror.until('event', () => api.written.length === 1);
  t.like(api.written[0], { method: 'POST', path: EVENTS, type: 'application/json', body: { reason: 'InvalidObject' } });
  if (problem) source.publish?.(problem);
  await mirror.until('repetition', () => api.written.length === 3);
  t.like(api.written[2], { method: 'PATCH', type: 'application/merge-patch+json', body: { series: { count: 3 } } });
  api.set(SERVICES, rawService('web', 9));
  await mirror.until('change', () => clusterIp(mirror) === '10.96.0.9');
  t.is(mirror.problems.length, 1);
});

test('a source without a node name writes no Events', async (t) => {
  const { api, mirror, start } = await world(t);
  const source = await start();
  await mirror.until('sync', () => mirror.syncs === 1);
  source.publish?.({
    object: '',
    field: '',
    message: '',
    event: { about: { kind: 'Service', namespace: 'shop', name: 'web', uid: '' }, reason: 'InvalidObject' },
  });
  api.set(SERVICES, rawService('web', 9));
  await mirror.until('change', () => clusterIp(mirror) === '10.96.0.9');
  t.deepEqual(api.written, []);
});

test('a service that turns into an ExternalName is removed', async (t) => {
  const { api, mirror, ready } = await world(t);
  await ready();
  api.set(SERVICES, rawService('web', 1, { type: 'ExternalName' }));
  await mirror.until('removal', () => !mirror.keys.includes('Service/shop/web'));
  t.deepEqual(mirror.problems, []);
});

test('of several API servers the next one is asked when one is away', async (t) => {
  const { api, mirror, start } = await world(t);
  const away = await MisbehavingApi.start();
  const { port } = away;
  await away.close();
  await start({ apiserver: `127.0.0.1:${port},127.0.0.1:${api.port}` });
  await mirror.until('sync', () => mirror.syncs === 1);
  t.deepEqual(mirror.keys, ALL);
});

test('the address that answered is remembered once, and found again by an agent whose own address leads nowhere', async (t) => {
  const { api, mirror, start, stop, ready, remembered } = await world(t);
  await ready();
  const address = new URL(api.url).host;
  t.deepEqual(remembered, [address]);
  await stop();
  await start({ apiserver: '127.0.0.1:1', remembered: address });
  await mirror.until('sync', () => mirror.syncs === 2);
});

test('an address that is none, or a kubeconfig that is not there, stops the start', async (t) => {
  const { start } = await world(t);
  t.like(await t.throwsAsync(start({ apiserver: 'not an address' })), { code: 'WEIR_USAGE' });
  const missing = kubernetesSource({ kubeconfig: join(tmpdir(), 'weir-no-such-kubeconfig') });
  t.like(await t.throwsAsync(missing.start(new Mirror())), { code: 'WEIR_API' });
});

test('nothing is told after stop, and no connection stays open', async (t) => {
  const { api, mirror, ready, stop } = await world(t);
  await ready();
  await stop();
  const before = mirror.batches.length;
  api.set(SERVICES, rawService('web', 9));
  await sleep(100);
  t.is(mirror.batches.length, before);
  t.is(api.watching(SERVICES), 0);
});
