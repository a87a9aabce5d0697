import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { stringify } from 'yaml';
import { manifestSource } from '../../src/watch/manifests.js';
import { Mirror } from '../helpers/mirror.js';
import { rawService, rawSlice } from '../helpers/samples.js';

interface Folder {
  readonly directory: string;
  readonly mirror: Mirror;
  write(name: string, ...objects: unknown[]): Promise<void>;
  start(): Promise<void>;
}

/** A temporary folder that is followed; everything ends with the test. */
async function folder(t: ExecutionContext): Promise<Folder> {
  const base = await mkdtemp(join(tmpdir(), 'weir-manifests-'));
  const directory = join(base, 'manifests');
  await mkdir(directory);
  const mirror = new Mirror();
  const source = manifestSource({ directory, rescanMs: 300 });
  t.teardown(async () => {
    await source.stop();
    await rm(base, { recursive: true, force: true });
  });
  const write = (name: string, ...objects: unknown[]): Promise<void> =>
    writeFile(join(directory, name), objects.map((object) => stringify(object)).join('---\n'));
  return { directory, mirror, write, start: () => source.start(mirror) };
}

test('a folder is read at the start, in every format, in one batch before synced', async (t) => {
  const { directory, mirror, write, start } = await folder(t);
  await write('a.yaml', rawService('web', 1), rawSlice('web', ['10.1.0.1']));
  await writeFile(
    join(directory, 'b.json'),
    JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [rawService('api', 2)] }),
  );
  await write('c.yml', rawService('db', 3));
  await write('notes.txt', rawService('text', 4));
  await write('.hidden.yaml', rawService('hidden', 5));
  await start();
  t.deepEqual(mirror.keys, ['EndpointSlice/shop/web-1', 'Service/shop/api', 'Service/shop/db', 'Service/shop/web']);
  t.is(mirror.batches.length, 1);
  t.is(mirror.syncs, 1);
  t.deepEqual(mirror.problems, []);
});

test('an edit, an addition and a removal each arrive as the one change they are', async (t) => {
  const { directory, mirror, write, start } = await folder(t);
  await write('web.yaml', rawService('web', 1), rawService('same', 9));
  await start();
  await write('web.yaml', rawService('web', 2), rawService('same', 9));
  await mirror.until('edit', () => mirror.batches.length === 2);
  t.is(mirror.batches[1]?.length, 1);
  await write('api.yaml', rawService('api', 3));
  await mirror.until('addition', () => mirror.keys.includes('Service/shop/api'));
  await rm(join(directory, 'web.yaml'));
  await mirror.until('removal', () => mirror.keys.join() === 'Service/shop/api');
  t.is(mirror.batches.length, 4);
});

test('saving without a difference, or in another order, changes nothing', async (t) => {
  const { mirror, write, start } = await folder(t);
  await write('web.yaml', rawService('web', 1), rawService('api', 2));
  await start();
  await write('web.yaml', rawService('api', 2), rawService('web', 1));
  await sleep(500);
  t.is(mirror.batches.length, 1);
});

test('a file that an editor replaces by a new one is followed', async (t) => {
  const { directory, mirror, write, start } = await folder(t);
  await write('web.yaml', rawService('web', 1));
  await start();
  await write('.web.yaml.tmp', rawService('api', 2));
  await rename(join(directory, '.web.yaml.tmp'), join(directory, 'web.yaml'));
  await mirror.until('replacement', () => mirror.keys.join() === 'Service/shop/api');
  t.deepEqual(mirror.problems, []);
});

test('a file that an editor moves away before it writes the new one is not taken for removed', async (t) => {
  const { directory, mirror, write, start } = await folder(t);
  await write('web.yaml', rawService('web', 1));
  await start();
  await rename(join(directory, 'web.yaml'), join(directory, 'web.yaml~'));
  await sleep(60);
  await write('web.yaml', rawService('web', 2));
  await mirror.until('new version', () => mirror.batches.length === 2);
  t.deepEqual(
    mirror.batches[1]?.map((change) => change.op),
    ['set'],
  );
});

test('a file that gets another name changes nothing', async (t) => {
  const { directory, mirror, write, start } = await folder(t);
  await write('web.yaml', rawService('web', 1));
  await start();
  await rename(join(directory, 'web.yaml'), join(directory, 'all.yaml'));
  await sleep(500);
  t.is(mirror.batches.length, 1);
  t.deepEqual(mirror.problems, []);
});

test('a mounted ConfigMap, whose files change all at once behind a link, is followed', async (t) => {
  const { directory, mirror, start } = await folder(t);
  for (const [version, last] of [
    ['..1', 1],
    ['..2', 2],
  ] as const) {
    await mkdir(join(directory, version));
    await writeFile(join(directory, version, 'web.yaml'), stringify(rawService('web', last)));
  }
  await symlink('..1', join(directory, '..data'));
  await symlink('..data/web.yaml', join(directory, 'web.yaml'));
  await start();
  t.deepEqual(mirror.keys, ['Service/shop/web']);
  await symlink('..2', join(directory, '..data_tmp'));
  await rename(join(directory, '..data_tmp'), join(directory, '..data'));
  await mirror.until('new data', () => mirror.batches.length === 2);
  t.deepEqual(mirror.problems, []);
});

test('a broken file is reported by name and line while its last good objects stay', async (t) => {
  const { directory, mirror, write, start } = await folder(t);
  await write('web.yaml', rawService('web', 1));
  await write('api.yaml', rawService('api', 2));
  await start();
  await writeFile(
    join(directory, 'web.yaml'),
    `${stringify(rawService('other', 1))}---\nkind: Service\nmetadata: {name: web\nspec:\n  ports: []\n`,
  );
  await write('api.yaml', rawService('api', 3));
  await mirror.until('report', () => mirror.problems.length > 0);
  t.regex(mirror.problems[0]?.object ?? '', /^web\.yaml:(1[4-9])$/);
  t.regex(mirror.problems[0]?.message ?? '', /not YAML/);
  t.deepEqual(mirror.keys, ['Service/shop/api', 'Service/shop/web']);
  t.is(mirror.batches.length, 2, 'the good file applies');
  await sleep(700);
  t.is(mirror.problems.length, 1, 'said once, not at every look');
  await write('web.yaml', rawService('web', 4));
  await mirror.until('mended file', () => mirror.infos.some((info) => info.includes('web.yaml')));
  t.is(mirror.batches.length, 3);
});

test('an invalid object keeps its last good version while its neighbours change', async (t) => {
  const { mirror, write, start } = await folder(t);
  await write('web.yaml', rawService('web', 1), rawService('api', 2));
  await start();
  const before = mirror.state.get('Service/shop/web');
  await write('web.yaml', rawService('web', 3, { ports: [{ port: 70000 }] }), rawService('api', 4));
  await mirror.until('problem', () => mirror.problems.length > 0);
  t.like(mirror.problems[0], { object: 'Service shop/web', field: 'spec.ports[0].port' });
  t.is(mirror.problems[0]?.message, 'must be a number from 1 to 65535, got 70000 (web.yaml:12)');
  t.is(mirror.state.get('Service/shop/web'), before);
  t.deepEqual(
    mirror.batches[1]?.map((change) => change.op),
    ['set'],
  );
});

test('an object that lost its name takes no object away', async (t) => {
  const { mirror, write, start } = await folder(t);
  await write('web.yaml', rawService('web', 1));
  await start();
  await write('web.yaml', { ...rawService('web', 1), metadata: { namespace: 'shop' } });
  await mirror.until('problem', () => mirror.problems.length > 0);
  t.is(mirror.problems[0]?.field, 'metadata.name');
  t.deepEqual(mirror.keys, ['Service/shop/web']);
});

test('an object that turns into one Weir ignores is removed', async (t) => {
  const { mirror, write, start } = await folder(t);
  await write('web.yaml', rawService('web', 1));
  await start();
  await write('web.yaml', rawService('web', 1, { type: 'ExternalName' }));
  await mirror.until('removal', () => mirror.keys.length === 0);
  t.deepEqual(mirror.problems, []);
});

test('an object in two files counts in the first, and the problem names both', async (t) => {
  const { directory, mirror, write, start } = await folder(t);
  await write('b.yaml', rawService('web', 2));
  await write('a.yaml', rawService('web', 1));
  await start();
  t.regex(mirror.problems[0]?.message ?? '', /a\.yaml and in b\.yaml/);
  t.like(mirror.state.get('Service/shop/web'), { clusterIps: ['10.96.0.1'] });
  await rm(join(directory, 'a.yaml'));
  await mirror.until('the other one', () => mirror.batches.length === 2);
  t.like(mirror.state.get('Service/shop/web'), { clusterIps: ['10.96.0.2'] });
});

test('a file that is written slowly in place never removes an object on the way', async (t) => {
  const { directory, mirror, write, start } = await folder(t);
  await write('web.yaml', rawService('web', 1), rawService('api', 2));
  await start();
  const path = join(directory, 'web.yaml');
  const text = [rawService('api', 3), rawService('web', 4)].map((object) => stringify(object)).join('---\n');
  for (let end = 0; end <= text.length; end += 60) {
    await writeFile(path, text.slice(0, end));
    await sleep(45);
  }
  await writeFile(path, text);
  await mirror.until('whole file', () => mirror.batches.flat().length >= 4);
  t.deepEqual(
    mirror.batches.flat().filter((change) => change.op === 'delete'),
    [],
  );
  t.deepEqual(mirror.keys, ['Service/shop/api', 'Service/shop/web']);
});

test('a file that was emptied keeps its objects in force until it is removed', async (t) => {
  const { directory, mirror, write, start } = await folder(t);
  await write('web.yaml', rawService('web', 1));
  await start();
  await writeFile(join(directory, 'web.yaml'), '');
  await mirror.until('problem', () => mirror.problems.length > 0);
  t.regex(mirror.problems[0]?.message ?? '', /is empty/);
  t.deepEqual(mirror.keys, ['Service/shop/web']);
  await rm(join(directory, 'web.yaml'));
  await mirror.until('removal', () => mirror.keys.length === 0);
});

test('a folder that vanishes is reported while everything stays, and is followed again when it returns', async (t) => {
  const { directory, mirror, write, start } = await folder(t);
  await write('web.yaml', rawService('web', 1));
  await start();
  await rename(directory, `${directory}.away`);
  await mirror.until('problem', () => mirror.problems.length > 0);
  t.deepEqual(mirror.keys, ['Service/shop/web']);
  await rename(`${directory}.away`, directory);
  await mirror.until('return', () => mirror.infos.length > 0);
  await write('api.yaml', rawService('api', 2));
  await mirror.until('addition', () => mirror.keys.length === 2);
});

test('a dangling link is a problem, not a removal', async (t) => {
  const { directory, mirror, start } = await folder(t);
  await writeFile(join(directory, '..web'), stringify(rawService('web', 1)));
  await symlink('..web', join(directory, 'web.yaml'));
  await start();
  await rm(join(directory, '..web'));
  await mirror.until('problem', () => mirror.problems.length > 0);
  t.like(mirror.problems[0], { object: 'web.yaml' });
  t.deepEqual(mirror.keys, ['Service/shop/web']);
});

test('a kind that Weir does not use is mentioned with its line, in case it is a slip of the pen', async (t) => {
  const { mirror, write, start } = await folder(t);
  await write('web.yaml', rawService('web', 1), { ...rawService('api', 2), kind: 'Servce' });
  await start();
  t.regex(mirror.infos[0] ?? '', /^web\.yaml:1[0-9]: kind "Servce"/);
  t.deepEqual(mirror.problems, []);
});

test('a folder that does not exist stops the start with WEIR_MANIFEST', async (t) => {
  const source = manifestSource({ directory: join(tmpdir(), 'weir-no-such-folder') });
  const error = await t.throwsAsync(source.start(new Mirror()));
  t.like(error, { code: 'WEIR_MANIFEST' });
  t.regex(error?.message ?? '', /no such file/);
});

test('nothing is told after stop', async (t) => {
  const { directory, mirror, write } = await folder(t);
  await write('web.yaml', rawService('web', 1));
  const source = manifestSource({ directory, rescanMs: 50 });
  await source.start(mirror);
  await source.stop();
  await write('web.yaml', rawService('web', 2));
  await sleep(200);
  t.is(mirror.batches.length, 1);
});
