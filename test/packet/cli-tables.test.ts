import test from 'ava';
import type { BackendListRow } from '../../src/cli/backend.js';
import type { FlowRow } from '../../src/cli/flow.js';
import type { ServiceRow } from '../../src/cli/service-table.js';
import { FLOW_KIND, FLOW_STATE, FORWARDING, MAPS } from '../../src/maps/layout.js';
import { openTable } from '../../src/maps/table.js';
import { weir } from '../unit/cli-context.js';
import { compileService } from '../../src/core/desired.js';
import { KernelTables } from '../../src/maps/kernel-tables.js';
import { ServiceTables } from '../../src/maps/services.js';
import { givenRoot, givenServices, ip, SETTINGS, WEB, WEB_SLICE, writeConfig } from './cli-world.js';
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

/** A flow of 192.0.2.9:1234 to shop/web at 203.0.113.7, one to its IPv6 address, and the entries of their replies. */
function writeFlows(root: string, seen: bigint): void {
  const common = { seen, service: 1, nat: ip('::'), natPort: 0, state: FLOW_STATE.ESTABLISHED, flags: 0, port: 8080 };
  const v4 = { ...common, backend: idOf(root, '10.244.2.6'), address: ip('10.244.2.6'), forwarding: FORWARDING.DSR };
  const v6 = {
    ...common,
    backend: idOf(root, 'fd00:244:1::5'),
    address: ip('fd00:244:1::5'),
    forwarding: FORWARDING.NAT,
  };
  using flows4 = openTable(root, MAPS.weir_flows4);
  const key4 = { source: 0xc0000209, destination: 0xcb007107, sourcePort: 1234, destinationPort: 80, protocol: 6 };
  flows4.set(key4, { ...v4, kind: FLOW_KIND.FORWARD });
  flows4.set({ ...key4, sourcePort: 8080, destinationPort: 1234 }, { ...v4, kind: FLOW_KIND.REPLY });
  using flows6 = openTable(root, MAPS.weir_flows6);
  const key6 = {
    source: ip('fd00::9'),
    destination: ip('fd00:96::10'),
    sourcePort: 1234,
    destinationPort: 80,
    protocol: 6,
  };
  flows6.set(key6, { ...v6, kind: FLOW_KIND.FORWARD });
}

test('services are listed by name with the backends of each frontend family and their flows', async (t) => {
  const root = givenServices(t);
  writeFlows(root, 0n);
  const [dns, web, ...rest] = await asked<ServiceRow[]>(root, 'service', 'list');
  t.deepEqual(rest, []);
  t.like(dns, {
    namespace: 'kube-system',
    name: 'dns',
    frontends: [{ address: '10.96.0.53', scheduler: 'rr', backends: [] }],
  });
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
  t.regex(
    stdout,
    /^TCP 203\.0\.113\.7:80 ExternalIP shop\/web:http maglev dsr\n {2}-> 10\.244\.1\.5:8080 node-a active weight 1 flows 0$/m,
  );
});

test('session affinity and weights are told', async (t) => {
  const root = givenRoot(t);
  using tables = new KernelTables(root);
  const services = new ServiceTables(tables, { drain: 0, clock: () => 0 });
  const annotations = { 'weir.io/scheduler': 'lc', 'weir.io/weights': '10.244.1.5=7' };
  const web = compileService({ ...WEB, annotations, affinity: 600 }, [WEB_SLICE], SETTINGS);
  services.commit(services.prepare([web], []));
  const { stdout } = await weir(['service', 'list', '--bpf-root', root]);
  t.regex(
    stdout,
    /^TCP 203\.0\.113\.7:80 ExternalIP shop\/web:http lc nat affinity 600s\n {2}-> 10\.244\.1\.5:8080 .* weight 7 /m,
  );
  const [row] = await asked<ServiceRow[]>(root, 'service', 'list');
  t.is(row?.frontends[0]?.affinity, 600);
});

test('every backend of every service port has one row', async (t) => {
  const rows = await asked<BackendListRow[]>(givenServices(t), 'backend', 'list');
  const shown = rows.map(
    (row) => `${row.namespace}/${row.service}:${row.portName} ${row.protocol} ${row.address} ${row.local}`,
  );
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

for (const command of [
  ...'service,backend,endpoint,policy,flow'.split(',').map((noun) => `${noun} list`),
  'drops',
  'drops --follow',
  'diff',
]) {
  test(`'weir ${command}' says so where nothing is installed`, async (t) => {
    const answer = await weir([...command.split(' '), '--bpf-root', '/nonexistent/weir']);
    t.is(answer.code, 1);
    t.is(answer.stdout, '');
    t.regex(
      answer.stderr,
      /^weir: open \S.* nothing is pinned at \/nonexistent\/weir\/\w+ \[WEIR_NOT_INSTALLED\]: .*\n$/,
    );
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
