/** A node with manifests and tables, and the question whether they agree. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { desiredState, readObjects } from '../../src/cli/desired-state.js';
import type { Difference } from '../../src/cli/difference.js';
import type { Ip } from '../../src/core/net.js';
import { readNetwork } from '../../src/host/network.js';
import { KernelTables } from '../../src/maps/kernel-tables.js';
import { localEndpoints } from '../../src/maps/local-endpoints.js';
import { type NodeEndpoint, NodeTables } from '../../src/maps/node.js';
import { PolicyTables } from '../../src/maps/policy.js';
import { ServiceTables } from '../../src/maps/services.js';
import type { Table } from '../../src/maps/table.js';
import { manifestSource } from '../../src/watch/manifests.js';
import { rawNode, rawService, rawSlice } from '../helpers/samples.js';
import { type Answer, weir } from '../unit/cli-context.js';
import { givenRoot } from './cli-world.js';
import { netns, run } from './loader-world.js';

export interface Place {
  readonly root: string;
  readonly manifests: string;
}

export const WEB = rawService('web', 10, { externalIPs: ['203.0.113.7'] });
const WEB_SLICE = rawSlice('web', ['10.244.1.5', '10.244.1.6']);

/** A network namespace with an uplink wa and a pod device wb, manifests, and tables without content. */
export function givenPlace(t: ExecutionContext): Place {
  const root = givenRoot(t);
  const manifests = mkdtempSync(join(tmpdir(), 'weir-manifests-'));
  t.teardown(() => rmSync(manifests, { recursive: true }));
  netns(t);
  run('ip', 'addr', 'add', '198.51.100.1/24', 'dev', 'wa');
  write(manifests, 'objects.json', [WEB, WEB_SLICE, rawNode('node-2', '198.51.100.2')]);
  return { root, manifests };
}

export function write(manifests: string, name: string, items: readonly object[]): void {
  writeFileSync(join(manifests, name), JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
}

export function diff({ root, manifests }: Place, ...args: string[]): Promise<Answer> {
  const where = ['--bpf-root', root, '--manifests', manifests, '--node-name', 'node-1'];
  return weir(['diff', ...where, '--devices', 'wa', '--pod-devices', 'wb', ...args]);
}

export async function found(place: Place, ...args: string[]): Promise<Difference[]> {
  const { code, stdout } = await diff(place, '-o', 'json', ...args);
  const rows = JSON.parse(stdout) as Difference[];
  if (code !== (rows.length > 0 ? 1 : 0)) throw new Error(`weir diff exits ${code} with ${rows.length} differences`);
  return rows;
}

/** Brings the tables to what the manifests say, as the agent does. */
export async function commit({ root, manifests }: Place): Promise<void> {
  const { signal } = new AbortController();
  const store = await readObjects(manifestSource({ directory: manifests }), () => undefined, signal);
  const options = {
    dataplane: 'bpf',
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
    clusterCidr: [],
    serviceProxyName: '',
    runServiceProxy: true,
    runFirewall: true,
    denyAction: 'drop',
  } as const;
  const state = desiredState(store, options, await readNetwork(), new Set());
  using tables = new KernelTables(root);
  const kernel = new ServiceTables(tables, { drain: 60_000, clock: () => 0 });
  const wanted = new Set(state.services.map(({ key }) => key));
  const change = kernel.prepare(
    state.services,
    kernel.services().filter((key) => !wanted.has(key)),
  );
  kernel.commit(change);
  const policy = new PolicyTables(tables, () => 0);
  const endpoints = new Map<Ip, NodeEndpoint>([...change.next.values()].flatMap((rows) => [...localEndpoints(rows)]));
  const sync = (): number => {
    for (const [ip, sets] of policy.endpoints()) endpoints.set(ip, { host: false, policy: sets });
    return new NodeTables(tables).sync(state.node(endpoints));
  };
  policy.sync(state.policy, state.own, { syncEndpoints: sync, nextEpoch: () => undefined });
  sync();
}

/** Changes one entry behind the agent's back. */
export function edit<K, V>(
  root: string,
  open: (root: string) => Table<K, V>,
  pick: (key: K, value: V) => boolean,
  change: (value: V) => V,
): K {
  using table = open(root);
  for (const [key, value] of table.entries()) {
    if (!pick(key, value)) continue;
    table.set(key, change(value));
    return key;
  }
  throw new Error(`no such entry in ${table.layout.name}`);
}
