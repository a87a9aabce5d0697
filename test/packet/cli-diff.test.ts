import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { desiredState, readObjects } from '../../src/cli/desired-state.js';
import type { Difference } from '../../src/cli/difference.js';
import { readNetwork } from '../../src/host/network.js';
import { listPins } from '../../src/loader/pins.js';
import { KernelTables } from '../../src/maps/kernel-tables.js';
import { BACKEND_STATE, DEVICE_FLAG, MAPS } from '../../src/maps/layout.js';
import { NodeTables } from '../../src/maps/node.js';
import { localEndpoints, ServiceTables } from '../../src/maps/services.js';
import { openTable, type Table } from '../../src/maps/table.js';
import { manifestSource } from '../../src/watch/manifests.js';
import { rawNode, rawService, rawSlice } from '../helpers/samples.js';
import { type Answer, weir } from '../unit/cli-context.js';
import { givenRoot, ip } from './cli-world.js';
import { netns, run } from './loader-world.js';

interface Place {
  readonly root: string;
  readonly manifests: string;
}

const WEB = rawService('web', 10, { externalIPs: ['203.0.113.7'] });
const WEB_SLICE = rawSlice('web', ['10.244.1.5', '10.244.1.6']);

/** A network namespace with an uplink wa and a pod device wb, manifests, and tables without content. */
function givenPlace(t: ExecutionContext): Place {
  const root = givenRoot(t);
  const manifests = mkdtempSync(join(tmpdir(), 'weir-manifests-'));
  t.teardown(() => rmSync(manifests, { recursive: true }));
  netns(t);
  run('ip', 'addr', 'add', '198.51.100.1/24', 'dev', 'wa');
  write(manifests, 'objects.json', [WEB, WEB_SLICE, rawNode('node-2', '198.51.100.2')]);
  return { root, manifests };
}

function write(manifests: string, name: string, items: readonly object[]): void {
  writeFileSync(join(manifests, name), JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
}

function diff({ root, manifests }: Place, ...args: string[]): Promise<Answer> {
  const where = ['--bpf-root', root, '--manifests', manifests, '--node-name', 'node-1'];
  return weir(['diff', ...where, '--devices', 'wa', '--pod-devices', 'wb', ...args]);
}

async function found(place: Place, ...args: string[]): Promise<Difference[]> {
  const { code, stdout } = await diff(place, '-o', 'json', ...args);
  const rows = JSON.parse(stdout) as Difference[];
  if (code !== (rows.length > 0 ? 1 : 0)) throw new Error(`weir diff exits ${code} with ${rows.length} differences`);
  return rows;
}

/** Brings the tables to what the manifests say, as the agent does. */
async function commit({ root, manifests }: Place): Promise<void> {
  const { signal } = new AbortController();
  const store = await readObjects(manifestSource({ directory: manifests }), () => undefined, signal);
  const options = {
    bpfRoot: root,
    nodeName: 'node-1',
    manifests,
    kubeconfig: undefined,
    apiservers: [],
    devices: ['wa'],
    podDevices: ['wb'],
    forwarding: 'nat',
    scheduler: 'maglev',
    nodePortAddresses: 'all',
    dsrSources: [],
    runServiceProxy: true,
  } as const;
  const { services, node } = desiredState(store, options, await readNetwork(), new Set());
  using tables = new KernelTables(root);
  const kernel = new ServiceTables(tables, { drain: 60_000, clock: () => 0 });
  const wanted = new Set(services.map(({ key }) => key));
  const change = kernel.prepare(services, kernel.services().filter((key) => !wanted.has(key)));
  kernel.commit(change);
  new NodeTables(tables).sync(node(new Map([...change.next.values()].flatMap((rows) => [...localEndpoints(rows)]))));
}

/** Changes one entry behind the agent's back. */
function edit<K, V>(root: string, open: (root: string) => Table<K, V>, pick: (key: K, value: V) => boolean, change: (value: V) => V): K {
  using table = open(root);
  for (const [key, value] of table.entries()) {
    if (!pick(key, value)) continue;
    table.set(key, change(value));
    return key;
  }
  throw new Error(`no such entry in ${table.layout.name}`);
}

const frontends = (root: string) => openTable(root, MAPS.weir_frontends);
const backends = (root: string) => openTable(root, MAPS.weir_backends);

test.serial('empty tables lack all that the manifests want, and diff does not fill them', async (t) => {
  const place = givenPlace(t);
  const pins = listPins(place.root);
  const rows = await found(place);
  t.true(rows.every((row) => row.have === null));
  const keys = rows.filter((row) => row.table === 'weir_frontends').map((row) => row.key);
  t.deepEqual(keys.sort(), ['TCP 10.96.0.10:80', 'TCP 203.0.113.7:80']);
  t.deepEqual(await found(place), rows);
  t.deepEqual(listPins(place.root), pins);
});

test.serial('after the commit there is no difference, and the output is empty', async (t) => {
  const place = givenPlace(t);
  await commit(place);
  t.deepEqual(await diff(place), { code: 0, stdout: '', stderr: '' });
  t.deepEqual(await diff(place, '-o', 'json'), { code: 0, stdout: '[]\n', stderr: '' });
});

test.serial('flags and objects that the tables do not obey are differences', async (t) => {
  const place = givenPlace(t);
  await commit(place);
  const dsr = await found(place, '--forwarding', 'dsr');
  t.like(dsr, [{ key: 'TCP 203.0.113.7:80', want: { forwarding: 'dsr' }, have: { forwarding: 'nat' } }]);
  const sources = await found(place, '--dsr-sources', '192.0.2.0/24');
  t.deepEqual(sources, [{ table: 'weir_sources', key: '192.0.2.0/24', want: { present: true }, have: null }]);
  write(place.manifests, 'more.json', [rawService('new', 11)]);
  const more = await found(place);
  t.true(more.some(({ key, have }) => key === 'TCP 10.96.0.11:80' && have === null));
});

test.serial('a service without an object is wanted no more', async (t) => {
  const place = givenPlace(t);
  await commit(place);
  write(place.manifests, 'objects.json', [rawNode('node-2', '198.51.100.2')]);
  const rows = await found(place);
  t.true(rows.every((row) => row.want === null));
  t.is(rows.filter((row) => row.table === 'weir_frontends').length, 2);
});

test.serial('an edit behind the back of the agent is named with both values', async (t) => {
  const place = givenPlace(t);
  await commit(place);
  edit(place.root, frontends, ({ address }) => address === '203.0.113.7', (value) => ({ ...value, forwarding: 2 }));
  edit(place.root, backends, (_, { address }) => address === '10.244.1.5', (value) => ({ ...value, weight: 9 }));
  t.like(await found(place), [
    { table: 'weir_backends', key: 'shop/web:80 10.244.1.5:8080', want: { weight: 1 }, have: { weight: 9 } },
    { table: 'weir_frontends', key: 'TCP 203.0.113.7:80', want: { forwarding: 'nat' }, have: { forwarding: 'dsr' } },
  ]);
  const { stdout } = await diff(place);
  t.regex(stdout, /^weir_frontends TCP 203\.0\.113\.7:80\n {2}want forwarding=nat\n {2}have forwarding=dsr\n/m);
});

test.serial('a deleted entry is missed', async (t) => {
  const place = givenPlace(t);
  await commit(place);
  using table = frontends(place.root);
  table.delete({ address: ip('10.96.0.10'), port: 80, protocol: 6 });
  t.like(await found(place), [{ table: 'weir_frontends', key: 'TCP 10.96.0.10:80', want: { kind: 'ClusterIP' }, have: null }]);
});

test.serial('slots that somebody has written over are told by what each backend has', async (t) => {
  const place = givenPlace(t);
  await commit(place);
  using table = frontends(place.root);
  const { outside } = table.get({ address: ip('10.96.0.10'), port: 80, protocol: 6 })!;
  using tables = new KernelTables(place.root);
  const words = tables.arena.read(outside.chunk, outside.size);
  tables.arena.write(outside.chunk, words.fill(words[0] ?? 0));
  const rows = await found(place);
  t.deepEqual(rows.map((row) => row.key).sort(), ['TCP 10.96.0.10:80', 'TCP 203.0.113.7:80']);
  t.is(Object.keys((rows[0]?.want?.['outside'] as { backends: object }).backends).length, 2);
  t.is(Object.keys((rows[0]?.have?.['outside'] as { backends: object }).backends).length, 1);
});

test.serial('a frontend that points outside the arena is named', async (t) => {
  const place = givenPlace(t);
  await commit(place);
  const outside = { chunk: 900_000, size: 251, backends: 2 };
  edit(place.root, frontends, ({ address }) => address === '203.0.113.7', (value) => ({ ...value, outside }));
  const [row, ...rest] = await found(place);
  t.deepEqual(rest, []);
  t.is(row?.key, 'TCP 203.0.113.7:80');
  t.is((row?.have?.['outside'] as { chunk: string }).chunk, '900000 is outside the arena');
});

test.serial('backends that are kept for their flows, and what the programs have learnt, are no difference', async (t) => {
  const place = givenPlace(t);
  await commit(place);
  write(place.manifests, 'objects.json', [WEB, rawSlice('web', ['10.244.1.6']), rawNode('node-2', '198.51.100.2')]);
  t.true((await found(place)).length > 0);
  await commit(place);
  edit(place.root, (root) => openTable(root, MAPS.weir_devices), (_, { role }) => role === 2, (value) => ({
    ...value,
    flags: value.flags | DEVICE_FLAG.BOUND4,
  }));
  edit(place.root, (root) => openTable(root, MAPS.weir_endpoints), () => true, (value) => ({ ...value, ifindex: 2 }));
  using table = backends(place.root);
  const states = [...table.entries()].map(([, { state }]) => state).sort();
  t.deepEqual(states, [BACKEND_STATE.ACTIVE, BACKEND_STATE.TERMINATING]);
  t.deepEqual(await found(place), []);
});

test.serial('the devices of the node are compared as well', async (t) => {
  const place = givenPlace(t);
  await commit(place);
  run('ip', 'addr', 'add', 'fd00::1/64', 'dev', 'wa', 'nodad');
  t.like(await found(place), [{ table: 'weir_uplinks', want: { device: 'wa', address6: 'fd00::1' }, have: { address6: '::' } }]);
  run('ip', 'link', 'del', 'wa');
  t.regex((await diff(place)).stderr, /^weir: use --devices wa: no such device \[WEIR_DEVICE\]/);
});

test.serial('without --devices diff looks at the uplinks that the tables have', async (t) => {
  const place = givenPlace(t);
  await commit(place);
  const where = ['--bpf-root', place.root, '--manifests', place.manifests, '--node-name', 'node-1'];
  t.deepEqual(await weir(['diff', ...where, '--pod-devices', 'wb']), { code: 0, stdout: '', stderr: '' });
});

test.serial('a manifest that cannot be read is told, and so is a folder that is not there', async (t) => {
  const place = givenPlace(t);
  await commit(place);
  writeFileSync(join(place.manifests, 'broken.yaml'), 'kind: [');
  t.regex((await diff(place)).stderr, /^weir: warning: .*broken\.yaml/);
  const { code, stderr } = await diff({ ...place, manifests: '/nonexistent' });
  t.is(code, 1);
  t.regex(stderr, /^weir: read manifests folder \/nonexistent: .*\n$/);
});
