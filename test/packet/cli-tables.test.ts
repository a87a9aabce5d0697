import test from 'ava';
import type { DropRow } from '../../src/cli/drops.js';
import type { BackendListRow } from '../../src/cli/backend.js';
import type { FlowRow } from '../../src/cli/flow.js';
import type { ServiceRow } from '../../src/cli/service-table.js';
import type { Status } from '../../src/cli/status.js';
import { lockRoot } from '../../src/loader/pins.js';
import { type Config, FLOW_KIND, FLOW_STATE, FORWARDING, HOOK, LAYOUT_HASH, MAPS, REASON } from '../../src/maps/layout.js';
import { openTable } from '../../src/maps/table.js';
import { weir } from '../unit/cli-context.js';
import { givenRoot, givenServices, ip } from './cli-world.js';
import { bpfDescriptors } from './loader-world.js';

const SECOND = 1_000_000_000n;

async function asked<T>(root: string, ...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await weir([...args, '-o', 'json', '--bpf-root', root]);
  if (code !== 0) throw new Error(`weir ${args.join(' ')} exits ${code}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

function idOf(root: string, address: string): number {
  using backends = openTable(root, MAPS.weir_backends);
  for (const [id, backend] of backends.entries()) if (backend.address === address) return id;
  throw new Error(`no backend ${address}`);
}

function writeConfig(root: string, config: Partial<Config>): void {
  using table = openTable(root, MAPS.weir_config);
  const before = table.get(0)!;
  table.set(0, { ...before, layout: LAYOUT_HASH, dataplane: 1, ...config });
}

/** A flow of 192.0.2.9:1234 to shop/web at 203.0.113.7, one to its IPv6 address, and the entries of their replies. */
function writeFlows(root: string, seen: bigint): void {
  const common = { seen, service: 1, nat: ip('::'), natPort: 0, state: FLOW_STATE.ESTABLISHED, flags: 0, port: 8080 };
  const v4 = { ...common, backend: idOf(root, '10.244.2.6'), address: ip('10.244.2.6'), forwarding: FORWARDING.DSR };
  const v6 = { ...common, backend: idOf(root, 'fd00:244:1::5'), address: ip('fd00:244:1::5'), forwarding: FORWARDING.NAT };
  using flows4 = openTable(root, MAPS.weir_flows4);
  const key4 = { source: 0xc0000209, destination: 0xcb007107, sourcePort: 1234, destinationPort: 80, protocol: 6 };
  flows4.set(key4, { ...v4, kind: FLOW_KIND.FORWARD });
  flows4.set({ ...key4, sourcePort: 8080, destinationPort: 1234 }, { ...v4, kind: FLOW_KIND.REPLY });
  using flows6 = openTable(root, MAPS.weir_flows6);
  const key6 = { source: ip('fd00::9'), destination: ip('fd00:96::10'), sourcePort: 1234, destinationPort: 80, protocol: 6 };
  flows6.set(key6, { ...v6, kind: FLOW_KIND.FORWARD });
}

test('services are listed by name with the backends of each frontend family and their flows', async (t) => {
  const root = givenServices(t);
  writeFlows(root, 0n);
  const [dns, web, ...rest] = await asked<ServiceRow[]>(root, 'service', 'list');
  t.deepEqual(rest, []);
  t.like(dns, { namespace: 'kube-system', name: 'dns', frontends: [{ address: '10.96.0.53', scheduler: 'rr', backends: [] }] });
  t.is(web?.namespace, 'shop');
  const shown = web?.frontends.map(({ kind, address, port, protocol, scheduler, forwarding }) =>
    [kind, protocol, address, port, scheduler, forwarding].join(' '),
  );
  t.deepEqual(shown, [
    'ClusterIP TCP 10.96.0.10 80 maglev nat',
    'ClusterIP TCP fd00:96::10 80 maglev nat',
    'NodePort TCP 198.51.100.1 30080 maglev dsr',
    'NodePort TCP 2001:db8::1 30080 maglev dsr',
    'ExternalIP TCP 203.0.113.7 80 maglev dsr',
  ]);
  const common = { port: 8080, state: 'active', weight: 1 };
  t.deepEqual(web?.frontends[0]?.backends, [
    { address: ip('10.244.1.5'), node: 'node-a', local: true, flows: 0, ...common },
    { address: ip('10.244.2.6'), node: 'node-b', local: false, flows: 1, ...common },
  ]);
  t.deepEqual(web?.frontends[1]?.backends, [
    { address: ip('fd00:244:1::5'), node: 'node-a', local: true, flows: 1, ...common },
  ]);
});

test('the table of services names what the JSON names', async (t) => {
  const { stdout } = await weir(['service', 'list', '--bpf-root', givenServices(t)]);
  t.regex(stdout, /^UDP 10\.96\.0\.53:53 ClusterIP kube-system\/dns:53 rr nat$/m);
  t.regex(stdout, /^TCP 203\.0\.113\.7:80 ExternalIP shop\/web:http maglev dsr\n {2}-> 10\.244\.1\.5:8080 node-a active weight 1 flows 0$/m);
});

test('every backend of every service port has one row', async (t) => {
  const rows = await asked<BackendListRow[]>(givenServices(t), 'backend', 'list');
  const shown = rows.map((row) => `${row.namespace}/${row.service}:${row.portName} ${row.protocol} ${row.address} ${row.local}`);
  t.deepEqual(shown, [
    'shop/web:http TCP 10.244.1.5 true',
    'shop/web:http TCP 10.244.2.6 false',
    'shop/web:http TCP fd00:244:1::5 true',
  ]);
});

test('flows are listed once each, with how long they were idle', async (t) => {
  const root = givenServices(t);
  const now = 1000n * SECOND;
  writeConfig(root, { ticksPerSecond: 250, ticks: 50_000n, ticksTime: 900n * SECOND });
  writeFlows(root, 50_000n + 250n * 58n);
  const { stdout } = await weir(['flow', 'list', '-o', 'json', '--bpf-root', root], { monotonic: () => now });
  const common = { protocol: 'TCP', state: 'established', idleSeconds: 42, service: 'shop/web:http' };
  t.deepEqual(JSON.parse(stdout) as FlowRow[], [
    { client: '192.0.2.9:1234', frontend: '203.0.113.7:80', backend: '10.244.2.6:8080', forwarding: 'dsr', ...common },
    {
      client: '[fd00::9]:1234',
      frontend: '[fd00:96::10]:80',
      backend: '[fd00:244:1::5]:8080',
      forwarding: 'nat',
      ...common,
    },
  ]);
});

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
  const common = { destination: '203.0.113.7', protocol: 'TCP', port: 80, pod: '', policies: [] };
  const first = { time: '2026-01-01T00:00:40.000Z', reason: 'no-endpoint', direction: 'ingress', source: '10.0.0.1', count: 7 };
  const last = { time: '2026-01-01T00:01:39.000Z', reason: 'spoofed-source', direction: 'egress', source: '10.0.0.2', count: 1 };
  t.deepEqual(JSON.parse(stdout) as DropRow[], [
    { ...common, ...first, hook: 'up_in' },
    { ...common, ...last, hook: 'pod_in' },
  ] as DropRow[]);
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
  const status = { synced: false, dataplane: 'bpf', generation: 4, lastSync: '1970-01-01T00:00:01.000Z', agent: 'dead', pid: null };
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

for (const command of ['service list', 'backend list', 'flow list', 'drops', 'drops --follow', 'diff']) {
  test(`'weir ${command}' says so where nothing is installed`, async (t) => {
    const answer = await weir([...command.split(' '), '--bpf-root', '/nonexistent/weir']);
    t.is(answer.code, 1);
    t.is(answer.stdout, '');
    t.regex(answer.stderr, /^weir: open \S.* nothing is pinned at \/nonexistent\/weir\/\w+ \[WEIR_NOT_INSTALLED\]: .*\n$/);
  });
}

test.serial('reading commands leave no descriptor open', async (t) => {
  const root = givenServices(t);
  const before = bpfDescriptors();
  for (const command of ['service list', 'backend list', 'flow list', 'drops', 'status']) {
    await weir([...command.split(' '), '--bpf-root', root]);
  }
  t.is(bpfDescriptors(), before);
});
