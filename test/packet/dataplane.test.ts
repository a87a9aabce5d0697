import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { type Ip } from '../../src/core/net.js';
import { openDataplane } from '../../src/loader/dataplane.js';
import { VerifierError } from '../../src/loader/errors.js';
import { isLocked, listPins, lockHolder, lockRoot, removePins } from '../../src/loader/pins.js';
import { programInfo, testRun } from '../../src/loader/program.js';
import { MAPS } from '../../src/maps/layout.js';
import { openTable } from '../../src/maps/table.js';
import { bpfDescriptors, bpffs, probeObject } from './loader-world.js';

const FLOWS = { v4: 1024, v6: 512 };
const DATAPLANE = new URL('../../src/loader/dataplane.js', import.meta.url).pathname;
const PINS = new URL('../../src/loader/pins.js', import.meta.url).pathname;

test('loading makes the directory and pins every map there; nothing stays open afterwards', (t) => {
  const [bpfRoot, objectPath] = [bpffs(t), probeObject(t)];
  const before = bpfDescriptors();
  const dataplane = openDataplane({ objectPath, bpfRoot, flowEntries: FLOWS });
  t.deepEqual(listPins(bpfRoot), Object.keys(MAPS).sort());
  t.is(programInfo(dataplane.program('weir_up_in')).name, 'weir_up_in');
  dataplane[Symbol.dispose]();
  t.is(bpfDescriptors(), before);
  t.is(removePins(bpfRoot).length, Object.keys(MAPS).length);
  t.false(existsSync(bpfRoot));
});

test('a second load takes over the pinned maps with what they hold', (t) => {
  const options = { bpfRoot: bpffs(t), objectPath: probeObject(t), flowEntries: FLOWS };
  openDataplane(options)[Symbol.dispose]();
  const table = openTable(options.bpfRoot, MAPS.weir_endpoints);
  const endpoint = { ifindex: 5, flags: 1, pod: 2, ingress: 3, egress: 4, auditIngress: 0, auditEgress: 6 };
  table.set('10.0.0.1' as Ip, endpoint);
  openDataplane(options)[Symbol.dispose]();
  t.deepEqual(table.get('10.0.0.1' as Ip), endpoint);
  table[Symbol.dispose]();
});

test('programs run on packets of the caller, and their maps count it', async (t) => {
  const options = { bpfRoot: bpffs(t), objectPath: probeObject(t, 'VERDICT=-1'), flowEntries: FLOWS };
  const dataplane = openDataplane(options);
  t.teardown(() => dataplane[Symbol.dispose]());
  const packet = Buffer.alloc(64, 7);
  const result = testRun(dataplane.program('weir_up_in'), { data: packet, repeat: 3, contextRoom: 192 });
  t.is(result.verdict, -1);
  t.deepEqual(result.data, packet);
  t.is(result.context.length, 192);
  t.is(testRun(dataplane.program('weir_xdp'), { data: packet }).verdict, 2);
  t.deepEqual(await dataplane.sweep(), { ticks: 3n, time: 4n, kept: 5, removed: 6, crowded: false });
  const counters = openTable(options.bpfRoot, MAPS.weir_counters);
  const packets = (key: number): bigint => counters.perCpu(key).reduce((sum, value) => sum + value.packets, 0n);
  t.deepEqual([80, 84].map(packets), [3n, 1n]);
  counters[Symbol.dispose]();
});

test('a program that the verifier rejects is named with the reason, and leaves no pins', (t) => {
  const options = { bpfRoot: bpffs(t), objectPath: probeObject(t, 'BROKEN'), flowEntries: FLOWS };
  const before = bpfDescriptors();
  const error = t.throws(() => openDataplane(options), { instanceOf: VerifierError });
  t.regex(error.message, /^load program weir_xdp: the verifier rejected it/);
  t.notRegex(error.message, /processed \d+ insns/);
  t.regex(error.log, /processed \d+ insns/);
  t.deepEqual(listPins(options.bpfRoot), []);
  t.is(bpfDescriptors(), before);
});

test('a pinned map of another version is refused by name, with what differs, and stays as it is', (t) => {
  const bpfRoot = bpffs(t);
  openDataplane({ bpfRoot, objectPath: probeObject(t, 'WIDE_KEY'), flowEntries: FLOWS })[Symbol.dispose]();
  const pins = listPins(bpfRoot);
  const objectPath = probeObject(t);
  const error = t.throws(() => openDataplane({ bpfRoot, objectPath, flowEntries: FLOWS }));
  t.like(error, { code: 'WEIR_LAYOUT', details: { map: 'weir_frontends', field: 'keySize' } });
  t.deepEqual(listPins(bpfRoot), pins);
  const size = t.throws(() => openDataplane({ bpfRoot, objectPath: probeObject(t, 'WIDE_KEY') }));
  t.regex(size.message, /weir_flows4: maxEntries is 1024 where it is pinned and 1048576/);
});

test('a directory that is not on a bpf file system is refused before anything is made', (t) => {
  const objectPath = probeObject(t);
  const error = t.throws(() => openDataplane({ objectPath, bpfRoot: '/tmp/weir-no-bpffs/weir' }));
  t.like(error, { code: 'WEIR_BPFFS' });
  t.false(existsSync('/tmp/weir-no-bpffs'));
  const dotted = t.throws(() => openDataplane({ objectPath, bpfRoot: join(bpffs(t), 'a.b') }));
  t.regex(dotted.message, /must not contain a dot/);
});

test('an object file that is missing or none is refused', (t) => {
  const bpfRoot = bpffs(t);
  t.like(
    t.throws(() => openDataplane({ objectPath: '/nonexistent.o', bpfRoot })),
    { code: 'WEIR_OBJECT' },
  );
  t.like(
    t.throws(() => openDataplane({ objectPath: 'package.json', bpfRoot })),
    { code: 'WEIR_OBJECT' },
  );
});

test('without capabilities the missing ones are named', (t) => {
  const script = `import('${DATAPLANE}').then((m) => m.openDataplane({ objectPath: 'x.o', bpfRoot: '/sys/fs/bpf/weir' }))
    .catch((error) => { console.log(error.code, error.message); });`;
  const bare = ['--bounding-set=-all', '--inh-caps=-all', process.execPath, '-e', script];
  const { stdout } = spawnSync('setpriv', bare, { encoding: 'utf8' });
  t.is(stdout.trim(), 'WEIR_CAPABILITY load the BPF programs: missing CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF');
});

test('one process at a time holds the directory, and its end frees it', async (t) => {
  const root = bpffs(t);
  mkdirSync(root);
  t.false(isLocked(root));
  const script = `import('${PINS}').then((m) => { globalThis.lock = m.lockRoot('${root}'); console.log('held'); });
    setInterval(() => {}, 1000);`;
  const other = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => other.kill('SIGKILL'));
  await once(other.stdout, 'data');
  t.true(isLocked(root));
  t.is(lockHolder(root), other.pid);
  const error = t.throws(() => lockRoot(root));
  t.like(error, { code: 'WEIR_ALREADY_RUNNING', details: { pid: other.pid } });
  other.kill('SIGKILL');
  await once(other, 'exit');
  t.false(isLocked(root));
  const lock = lockRoot(root);
  t.true(isLocked(root));
  lock[Symbol.dispose]();
  t.false(isLocked(root));
});

test('who looks whether the directory is held is waited for, not taken for an agent', async (t) => {
  const root = bpffs(t);
  mkdirSync(root);
  const looks = spawn('flock', ['--shared', root, 'sh', '-c', 'echo held; sleep 0.7'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(looks.stdout, 'data');
  t.false(isLocked(root));
  const lock = lockRoot(root);
  t.true(isLocked(root));
  lock[Symbol.dispose]();
});

test('cleaning up leaves what is not of Weir', (t) => {
  const root = bpffs(t);
  mkdirSync(join(root, 'others'), { recursive: true });
  t.throws(() => writeFileSync(join(root, 'weir_file'), ''), undefined, 'a bpf file system holds no ordinary files');
  t.deepEqual(removePins(root), []);
  t.true(existsSync(root));
});
