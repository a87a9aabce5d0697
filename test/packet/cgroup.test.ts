import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { detachSockets, SOCKET_HOOKS, socketHooks } from '../../src/loader/cgroup.js';
import { type Dataplane, openDataplane } from '../../src/loader/dataplane.js';
import { netnsCookie } from '../../src/loader/devices.js';
import { objectInfo, openPinned } from '../../src/loader/kernel-map.js';
import { closeFd } from '../../src/loader/libbpf.js';
import { listPins } from '../../src/loader/pins.js';
import { programInfo } from '../../src/loader/program.js';
import { Group } from '../helpers/group.js';
import { bpffs, netns, run } from './loader-world.js';

const OBJECT = 'bpf/build/weir.bpf.o';
const FLOWS = { v4: 1024, v6: 512 };
const HOOKS = Object.values(SOCKET_HOOKS).map(({ program }) => program);

function givenDataplane(t: ExecutionContext, bpfRoot: string): Dataplane {
  const dataplane = openDataplane({ bpfRoot, objectPath: OBJECT, flowEntries: FLOWS, sockets: true });
  t.teardown(() => dataplane[Symbol.dispose]());
  return dataplane;
}

/** Names of the programs at a cgroup, as bpftool sees them. */
function programsAt(cgroup: string): string[] {
  const output = run('bpftool', '-j', 'cgroup', 'show', cgroup).trim(); // nothing at all where there are none
  const listed = output === '' ? [] : (JSON.parse(output) as { name: string }[]);
  return listed.map(({ name }) => name).sort();
}

function link(bpfRoot: string): { id: number; program: number } {
  const fd = openPinned(join(bpfRoot, 'weir_cgroup_connect4'));
  if (fd === undefined) return { id: 0, program: 0 };
  const info = objectInfo(fd, 32);
  closeFd(fd);
  return { id: info.readUInt32LE(4), program: info.readUInt32LE(8) };
}

test.serial('every program for sockets is at the cgroup, and a new version takes over the same links', async (t) => {
  await using group = new Group();
  const bpfRoot = bpffs(t);
  const [first, second] = [givenDataplane(t, bpfRoot), givenDataplane(t, bpfRoot)];
  first.attachSockets(group.path);
  t.deepEqual(programsAt(group.path), [...HOOKS].sort());
  const before = link(bpfRoot);
  t.is(before.program, programInfo(first.program('weir_connect4')).id);
  second.attachSockets(group.path);
  t.deepEqual(link(bpfRoot), { id: before.id, program: programInfo(second.program('weir_connect4')).id });
  t.deepEqual(programsAt(group.path), [...HOOKS].sort());
  t.is(detachSockets(bpfRoot).length, HOOKS.length);
  t.deepEqual(programsAt(group.path), []);
  t.deepEqual(socketHooks(listPins(bpfRoot)), []);
});

test.serial('another cgroup gets the programs, and the first one loses them', async (t) => {
  await using group = new Group();
  await using other = new Group();
  const dataplane = givenDataplane(t, bpffs(t));
  dataplane.attachSockets(group.path);
  dataplane.attachSockets(other.path);
  t.deepEqual(programsAt(group.path), []);
  t.deepEqual(programsAt(other.path), [...HOOKS].sort());
});

test.serial('a cgroup that was removed is replaced by the one that is there now', async (t) => {
  await using group = new Group();
  const dataplane = givenDataplane(t, bpffs(t));
  const path = join(group.path, 'inner');
  mkdirSync(path);
  dataplane.attachSockets(path);
  run('rmdir', path);
  mkdirSync(path);
  dataplane.attachSockets(path);
  t.deepEqual(programsAt(path), [...HOOKS].sort());
});

test.serial('what is no cgroup2 directory is refused by name, and nothing is attached', async (t) => {
  await using group = new Group();
  const bpfRoot = bpffs(t);
  const dataplane = givenDataplane(t, bpfRoot);
  const plain = join(group.path, 'cgroup.procs');
  for (const [path, why] of [
    ['/nowhere', 'there is no such directory'],
    ['/proc', 'it is no cgroup2 directory'],
    [plain, 'it is no cgroup2 directory'],
  ] as const) {
    t.like(
      t.throws(() => dataplane.attachSockets(path)),
      { code: 'WEIR_CGROUP', message: `use --cgroup ${path}: ${why}` },
    );
  }
  t.deepEqual(socketHooks(readdirSync(bpfRoot)), []);
});

test.serial('the programs for sockets are only loaded where they are asked for', (t) => {
  const bpfRoot = bpffs(t);
  using dataplane = openDataplane({ bpfRoot, objectPath: OBJECT, flowEntries: FLOWS });
  t.like(
    t.throws(() => dataplane.program('weir_connect4')),
    { code: 'WEIR_OBJECT' },
  );
});

test.serial('every network namespace has a cookie of its own', (t) => {
  const here = netnsCookie();
  t.is(netnsCookie(), here);
  netns(t);
  t.not(netnsCookie(), here);
});
