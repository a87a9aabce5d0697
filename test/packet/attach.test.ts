import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { type Dataplane, openDataplane } from '../../src/loader/dataplane.js';
import { type Device, deviceByName, listDevices } from '../../src/loader/devices.js';
import { openPinned, objectInfo } from '../../src/loader/kernel-map.js';
import { closeFd } from '../../src/loader/libbpf.js';
import { listPins } from '../../src/loader/pins.js';
import { programInfo } from '../../src/loader/program.js';
import { detachTc, ownedAttachments } from '../../src/loader/tc.js';
import { detachXdp, queryXdp, xdpAttachments } from '../../src/loader/xdp.js';
import { MAPS } from '../../src/maps/layout.js';
import { openTable } from '../../src/maps/table.js';
import { bpffs, netns, probeObject, run } from './loader-world.js';

const FLOWS = { v4: 1024, v6: 512 };

function givenDataplane(t: ExecutionContext, bpfRoot: string, ...defines: string[]): Dataplane {
  const dataplane = openDataplane({ bpfRoot, objectPath: probeObject(t, ...defines), flowEntries: FLOWS });
  t.teardown(() => dataplane[Symbol.dispose]());
  return dataplane;
}

function qdiscs(device: Device): string {
  return run('tc', 'qdisc', 'show', 'dev', device.name);
}

test.serial('a program at a hook is listed as ours, and removing the last one removes the qdisc', (t) => {
  netns(t);
  const dataplane = givenDataplane(t, bpffs(t));
  const device = deviceByName('wa');
  dataplane.attachTc(device, 'ingress', 'weir_up_in');
  dataplane.attachTc(device, 'egress', 'weir_up_out');
  const owned = ownedAttachments().map(({ device: { name }, direction, program }) => `${name} ${direction} ${program}`);
  t.deepEqual(owned, ['wa ingress weir_up_in', 'wa egress weir_up_out']);
  t.true(detachTc(device, 'ingress'));
  t.false(detachTc(device, 'ingress'));
  t.regex(qdiscs(device), /clsact/);
  t.true(detachTc(device, 'egress'));
  t.notRegex(qdiscs(device), /clsact/);
  t.deepEqual(ownedAttachments(), []);
});

test.serial('a stranger in our place is named and left alone, a stranger beside us keeps the qdisc', (t) => {
  netns(t);
  const dataplane = givenDataplane(t, bpffs(t));
  const [wa, wb] = [deviceByName('wa'), deviceByName('wb')];
  const object = probeObject(t);
  const stranger = ['bpf', 'direct-action', 'object-file', object, 'program', 'stranger'];
  run('tc', 'qdisc', 'add', 'dev', 'wa', 'clsact');
  run('tc', 'filter', 'add', 'dev', 'wa', 'ingress', 'pref', '1', ...stranger);
  const error = t.throws(() => dataplane.attachTc(wa, 'ingress', 'weir_up_in'));
  t.like(error, { code: 'WEIR_DEVICE' });
  t.regex(
    error.message,
    /attach to wa ingress: the bpf filter probe\.bpf\.o:\[\w+\] has the place \(priority 1, handle 1\)/,
  );
  t.regex(run('tc', 'filter', 'show', 'dev', 'wa', 'ingress'), /stranger/);

  run('tc', 'qdisc', 'add', 'dev', 'wb', 'clsact');
  run('tc', 'filter', 'add', 'dev', 'wb', 'egress', 'pref', '5', ...stranger);
  dataplane.attachTc(wb, 'ingress', 'weir_pod_in');
  t.true(detachTc(wb, 'ingress'));
  t.regex(qdiscs(wb), /clsact/);
  t.regex(run('tc', 'filter', 'show', 'dev', 'wb', 'egress'), /stranger/);
});

test.serial('while programs are replaced again and again no packet passes without one', async (t) => {
  netns(t);
  const bpfRoot = bpffs(t);
  const versions = [givenDataplane(t, bpfRoot), givenDataplane(t, bpfRoot, 'VERDICT=-1')];
  run('ip', 'address', 'add', '10.9.0.1/24', 'dev', 'wa');
  run('ip', 'neighbour', 'add', '10.9.0.2', 'lladdr', '02:00:00:00:00:02', 'dev', 'wa');
  const device = deviceByName('wa');
  versions[0]?.attachTc(device, 'egress', 'weir_up_out');
  const sentBefore = transmitted('wa');
  const counters = openTable(bpfRoot, MAPS.weir_counters);
  t.teardown(() => counters[Symbol.dispose]());
  const counted = (): number => Number(counters.perCpu(81).reduce((sum, { packets }) => sum + packets, 0n));
  const countedBefore = counted();

  const flood = spawn(process.execPath, ['-e', FLOOD], { stdio: 'inherit' });
  let replaced = 0;
  while (flood.exitCode === null && flood.signalCode === null) {
    versions[replaced++ % 2]?.attachTc(device, 'egress', 'weir_up_out');
    await setImmediate();
  }
  const sent = transmitted('wa') - sentBefore;
  t.log(`${sent} packets, ${replaced} replacements`);
  t.true(sent >= 20_000 && replaced > 50);
  t.is(counted() - countedBefore, sent);
});

const FLOOD = `const socket = require('dgram').createSocket('udp4'); let left = 20000;
  const next = () => left-- > 0 ? socket.send('x', 9, '10.9.0.2', next) : socket.close(); next();`;

/** Packets that a device sent or could not send. */
function transmitted(name: string): number {
  const line = readFileSync('/proc/self/net/dev', 'utf8')
    .split('\n')
    .find((text) => text.trim().startsWith(`${name}:`));
  const fields = line?.split(':')[1]?.trim().split(/\s+/).map(Number) ?? [];
  return (fields[9] ?? 0) + (fields[11] ?? 0);
}

test.serial('native XDP on a veth is pinned, and a new version takes over the same link', (t) => {
  netns(t);
  const bpfRoot = bpffs(t);
  const device = deviceByName('wa');
  const link = (): { id: number; program: number } => {
    const fd = openPinned(join(bpfRoot, `weir_xdp_${device.ifindex}`));
    if (fd === undefined) return { id: 0, program: 0 };
    const info = objectInfo(fd, 32);
    closeFd(fd);
    return { id: info.readUInt32LE(4), program: info.readUInt32LE(8) };
  };
  const [first, second] = [givenDataplane(t, bpfRoot), givenDataplane(t, bpfRoot, 'VERDICT=-1')];
  t.deepEqual(first.attachXdp(device, 'native'), { mode: 'native', reason: 'as asked for' });
  const before = link();
  t.is(before.program, programInfo(first.program('weir_xdp')).id);
  second.attachXdp(device, 'native');
  t.deepEqual(link(), { id: before.id, program: programInfo(second.program('weir_xdp')).id });
  t.deepEqual(xdpAttachments(bpfRoot), [device.ifindex]);
  t.is(queryXdp(device.ifindex), 'native');

  second.attachXdp(device, 'generic');
  t.is(queryXdp(device.ifindex), 'generic');
  t.true(detachXdp(bpfRoot, device.ifindex));
  t.false(detachXdp(bpfRoot, device.ifindex));
  t.is(queryXdp(device.ifindex), 'off');
});

test.serial('auto leaves XDP off on a software device, says why and removes what was there', (t) => {
  netns(t);
  const bpfRoot = bpffs(t);
  const dataplane = givenDataplane(t, bpfRoot);
  const device = deviceByName('wa');
  dataplane.attachXdp(device, 'native');
  const outcome = dataplane.attachXdp(device, 'auto');
  t.is(outcome.mode, 'off');
  t.regex(outcome.reason, /wa is a software device/);
  t.is(queryXdp(device.ifindex), 'off');
  t.deepEqual(xdpAttachments(bpfRoot), []);
});

test.serial('a mode asked for by name that the device does not do is an error with the errno', (t) => {
  netns(t);
  const dataplane = givenDataplane(t, bpffs(t));
  const error = t.throws(() => dataplane.attachXdp(deviceByName('lo'), 'native'));
  t.regex(error.message, /attach XDP to lo in native mode: bpf_link_create answered EOPNOTSUPP/);
  t.is(dataplane.attachXdp(deviceByName('lo'), 'generic').mode, 'generic');
  const other = givenDataplane(t, bpffs(t));
  t.regex(t.throws(() => other.attachXdp(deviceByName('lo'), 'generic')).message, /EBUSY/);
});

test.serial('the pinned link of a device that vanished is removed', (t) => {
  netns(t);
  const bpfRoot = bpffs(t);
  const dataplane = givenDataplane(t, bpfRoot);
  const device = deviceByName('wa');
  dataplane.attachXdp(device, 'native');
  run('ip', 'link', 'del', 'wa');
  t.true(listPins(bpfRoot).includes(`weir_xdp_${device.ifindex}`));
  t.deepEqual(xdpAttachments(bpfRoot), []);
  t.false(listPins(bpfRoot).includes(`weir_xdp_${device.ifindex}`));
});

test.serial('devices are listed with their indexes, and an unknown one is refused by name', (t) => {
  netns(t);
  t.deepEqual(
    listDevices()
      .map(({ name }) => name)
      .sort(),
    ['lo', 'wa', 'wb'],
  );
  t.like(
    t.throws(() => deviceByName('nope')),
    { code: 'WEIR_DEVICE' },
  );
});
