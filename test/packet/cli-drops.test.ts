import test from 'ava';
import type { DropRow } from '../../src/cli/drops.js';
import type { Status } from '../../src/cli/status.js';
import { lockRoot } from '../../src/loader/pins.js';
import { HOOK, MAPS, REASON } from '../../src/maps/layout.js';
import { openTable } from '../../src/maps/table.js';
import { weir } from '../unit/cli-context.js';
import { givenRoot, ip, writeConfig } from './cli-world.js';

const SECOND = 1_000_000_000n;

function writeDrop(root: string, source: string, reason: number, hook: number, count: bigint, last: bigint): void {
  using drops = openTable(root, MAPS.weir_drops);
  const key = { source: ip(source), destination: ip('203.0.113.7'), port: 80, protocol: 6, reason, hook };
  drops.set(key, { count, first: 0n, last, ifindex: 2, rule: 0 });
}

test('drops are listed by name and wall-clock time, the latest last', async (t) => {
  const root = givenRoot(t);
  writeDrop(root, '10.0.0.2', REASON.SPOOFED_SOURCE, HOOK.POD_IN, 1n, 99n * SECOND);
  writeDrop(root, '10.0.0.1', REASON.NO_ENDPOINT, HOOK.UP_IN, 7n, 40n * SECOND);
  const clocks = { now: () => Date.UTC(2026, 0, 1, 0, 1, 40), monotonic: () => 100n * SECOND };
  const { code, stdout } = await weir(['drops', '-o', 'json', '--bpf-root', root], clocks);
  t.is(code, 0);
  const common = {
    destination: '203.0.113.7',
    protocol: 'TCP',
    port: 80,
    pod: '',
    policies: [],
    peer: '',
    nearest: null,
  };
  const names = { sourceName: '', destinationName: '' };
  const first = {
    time: '2026-01-01T00:00:40.000Z',
    reason: 'no-endpoint',
    direction: 'ingress',
    source: '10.0.0.1',
    count: 7,
  };
  const last = {
    time: '2026-01-01T00:01:39.000Z',
    reason: 'spoofed-source',
    direction: 'egress',
    source: '10.0.0.2',
    count: 1,
  };
  t.deepEqual(
    JSON.parse(stdout) as DropRow[],
    [
      { ...common, ...names, ...first, hook: 'up_in' },
      { ...common, ...names, ...last, hook: 'pod_in' },
    ] as DropRow[],
  );
});

test('following drops prints what is there, then what is new or counted on, until the signal', async (t) => {
  const root = givenRoot(t);
  writeDrop(root, '10.0.0.1', REASON.NO_ENDPOINT, HOOK.UP_IN, 1n, SECOND);
  const stop = new AbortController();
  const lines: string[] = [];
  const stdout = {
    write: (text: string) => {
      lines.push(text);
      if (lines.length === 1) writeDrop(root, '10.0.0.1', REASON.NO_ENDPOINT, HOOK.UP_IN, 5n, 2n * SECOND);
      if (lines.length === 2) writeDrop(root, '10.0.0.2', REASON.TTL, HOOK.XDP, 1n, 3n * SECOND);
      if (lines.length === 3) stop.abort();
    },
  };
  const { code } = await weir(['drops', '--follow', '-o', 'json', '--bpf-root', root], { stdout, signal: stop.signal });
  t.is(code, 0);
  const shown = lines.map((line) => JSON.parse(line) as DropRow).map(({ source, count }) => `${source} ${count}`);
  t.deepEqual(shown, ['10.0.0.1 1', '10.0.0.1 5', '10.0.0.2 1']);
});

test('status is no while nothing runs, whatever the tables say of the past', async (t) => {
  const root = givenRoot(t);
  const args = ['status', '-o', 'json', '--bpf-root', root];
  t.like(JSON.parse((await weir(args)).stdout), { synced: false, dataplane: null, generation: 0, lastSync: null });
  writeConfig(root, { synced: 1, generation: 4n, lastSync: 1000n, pid: 1 });
  const dead = await weir(args);
  t.is(dead.code, 1);
  const status = {
    synced: false,
    dataplane: 'bpf',
    generation: 4,
    lastSync: '1970-01-01T00:00:01.000Z',
    agent: 'dead',
    pid: null,
  };
  t.deepEqual(JSON.parse(dead.stdout) as Status, status as Status);
});

test('status waits until the agent has synced, and no longer than it was told', async (t) => {
  const root = givenRoot(t);
  writeConfig(root, { synced: 0, pid: process.pid });
  const lock = lockRoot(root);
  t.teardown(() => lock[Symbol.dispose]());
  const args = ['status', '--wait', '300ms', '-o', 'json', '--bpf-root', root];
  t.is((await weir(args)).code, 1);
  setTimeout(() => writeConfig(root, { synced: 1, lastSync: 1n }), 150);
  const { code, stdout } = await weir(['status', '--wait=10s', ...args.slice(3)]);
  t.is(code, 0);
  t.like(JSON.parse(stdout), { synced: true, agent: 'running', pid: process.pid });
});
