import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { listPins } from '../../src/loader/pins.js';
import { KernelTables } from '../../src/maps/kernel-tables.js';
import { BACKEND_STATE, DEVICE_FLAG, MAPS } from '../../src/maps/layout.js';
import { openTable } from '../../src/maps/table.js';
import { rawNode, rawService, rawSlice } from '../helpers/samples.js';
import { weir } from '../unit/cli-context.js';
import { commit, diff, edit, found, givenPlace, WEB, write } from './cli-place.js';
import { ip } from './cli-world.js';
import { run } from './loader-world.js';

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
  edit(
    place.root,
    frontends,
    ({ address }) => address === '203.0.113.7',
    (value) => ({ ...value, forwarding: 2 }),
  );
  edit(
    place.root,
    backends,
    (_, { address }) => address === '10.244.1.5',
    (value) => ({ ...value, weight: 9 }),
  );
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
  t.like(await found(place), [
    { table: 'weir_frontends', key: 'TCP 10.96.0.10:80', want: { kind: 'ClusterIP' }, have: null },
  ]);
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
  edit(
    place.root,
    frontends,
    ({ address }) => address === '203.0.113.7',
    (value) => ({ ...value, outside }),
  );
  const [row, ...rest] = await found(place);
  t.deepEqual(rest, []);
  t.is(row?.key, 'TCP 203.0.113.7:80');
  t.is((row?.have?.['outside'] as { chunk: string }).chunk, '900000 is outside the arena');
});

test.serial(
  'backends that are kept for their flows, and what the programs have learnt, are no difference',
  async (t) => {
    const place = givenPlace(t);
    await commit(place);
    write(place.manifests, 'objects.json', [WEB, rawSlice('web', ['10.244.1.6']), rawNode('node-2', '198.51.100.2')]);
    t.true((await found(place)).length > 0);
    await commit(place);
    edit(
      place.root,
      (root) => openTable(root, MAPS.weir_devices),
      (_, { role }) => role === 2,
      (value) => ({
        ...value,
        flags: value.flags | DEVICE_FLAG.BOUND4,
      }),
    );
    edit(
      place.root,
      (root) => openTable(root, MAPS.weir_endpoints),
      () => true,
      (value) => ({ ...value, ifindex: 2 }),
    );
    using table = backends(place.root);
    const states = [...table.entries()].map(([, { state }]) => state).sort();
    t.deepEqual(states, [BACKEND_STATE.ACTIVE, BACKEND_STATE.TERMINATING]);
    t.deepEqual(await found(place), []);
  },
);

test.serial('the devices of the node are compared as well', async (t) => {
  const place = givenPlace(t);
  await commit(place);
  run('ip', 'addr', 'add', 'fd00::1/64', 'dev', 'wa', 'nodad');
  t.like(await found(place), [
    { table: 'weir_classes', key: 'fd00::1/128', want: { class: 'this node' }, have: null },
    { table: 'weir_uplinks', want: { device: 'wa', address6: 'fd00::1' }, have: { address6: '::' } },
  ]);
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
