/** docs/map-abi.md shows what bpftool prints: its examples, tables of fields and numbers are held against the real maps. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { compileService } from '../../src/core/desired.js';
import { type Link } from '../../src/core/network.js';
import { parsePrefix } from '../../src/core/net.js';
import type { Member } from '../../src/maps/btf.js';
import { parseObject } from '../../src/maps/btf-parse.js';
import { KernelTables } from '../../src/maps/kernel-tables.js';
import * as layout from '../../src/maps/layout.js';
import { NodeTables } from '../../src/maps/node.js';
import { PolicyTables } from '../../src/maps/policy.js';
import { ServiceTables } from '../../src/maps/services.js';
import { openTable } from '../../src/maps/table.js';
import { DNS, givenRoot, ip, OBJECT, SETTINGS, slice, WEB, WEB_SLICE } from './cli-world.js';

const { FLOW_KIND, FLOW_STATE, FORWARDING, HOOK, MAPS, REASON, REASON_TEXT } = layout;
/** The generated enums: objects of numbers by name. */
const ENUMS = Object.fromEntries(
  Object.entries(layout as unknown as Record<string, Record<string, number>>).filter(
    ([name, value]) =>
      name !== 'SEGMENT' && typeof value === 'object' && Object.values(value).every((each) => typeof each === 'number'),
  ),
);
const TEXT = readFileSync('docs/map-abi.md', 'utf8');

interface Example {
  readonly how: string;
  readonly map: string;
  readonly text: string;
}

const EXAMPLES: readonly Example[] = [...TEXT.matchAll(/^<!-- (dump|lookup) (\w+) -->\n```\w+\n([^]*?)\n```$/gm)].map(
  ([, how = '', map = '', text = '']) => ({ how, map, text }),
);

/** A pod device with the index that its endpoint is bound to, and an uplink. */
const POD: Link = {
  ifindex: 3,
  name: 'vethweb1',
  mtu: 1500,
  mac: '02:00:00:00:00:03',
  kind: 'veth',
  master: '',
  up: true,
  addresses: [],
};
const UPLINK: Link = {
  ...POD,
  ifindex: 2,
  name: 'eth0',
  addresses: [{ ip: ip('198.51.100.1'), scope: 'global', stable: true }],
};

/** Something in every map. */
function fill(root: string): void {
  using tables = new KernelTables(root);
  const services = new ServiceTables(tables, { drain: 0, clock: () => 0 });
  const dns = compileService(DNS, [slice(DNS, [['10.244.1.5', 'node-a']], 5353)], SETTINGS);
  services.commit(services.prepare([compileService(WEB, [WEB_SLICE], SETTINGS), dns], []));
  new NodeTables(tables).sync({
    uplinks: [UPLINK],
    pods: [POD],
    bridges: [],
    xdp: new Set(),
    endpoints: new Map([[ip('10.244.1.5'), { host: false }]]),
    bindings: new Map([[ip('10.244.1.5'), POD]]),
    sources: [{ prefix: parsePrefix('198.51.100.1/32')!, name: 0 }],
    cluster: [parsePrefix('10.244.0.0/16')!],
  });
  fillFlows(root);
  using sockets = openTable(root, MAPS.weir_sockets);
  const socket = { cookie: 1n, address: ip('10.244.1.5'), port: 8080, protocol: 6, side: layout.SOCKET_SIDE.BACKEND };
  sockets.set(socket, { address: ip('10.96.0.10'), port: 80, backend: 1, service: 1 });
  fillPolicy(root, tables);
  using sysctls = openTable(root, MAPS.weir_sysctls);
  sysctls.set({ path: 'net/ipv4/ip_forward' }, { before: '0', value: '1' });
  using api = openTable(root, MAPS.weir_api);
  api.set(0, { address: 'https://10.0.0.254:6443' });
  using drops = openTable(root, MAPS.weir_drops);
  const where = { source: ip('192.0.2.9'), destination: ip('203.0.113.7'), port: 80, protocol: 6 };
  using affinity = openTable(root, MAPS.weir_affinity);
  affinity.set({ client: ip('192.0.2.9'), service: 1 }, { seen: 1n, backend: 1 });
  const drop = { count: 1n, first: 1n, last: 1n, ifindex: 2, rule: 0 };
  drops.set({ ...where, reason: REASON.NO_ENDPOINT, hook: HOOK.UP_IN }, drop);
  using fragments = openTable(root, MAPS.weir_fragments);
  const { source, destination } = where;
  const ports = { sourcePort: 1234, destinationPort: 53, protocol: 17 };
  fragments.set({ source, destination, id: 1, protocol: 17 }, ports);
}

function fillPolicy(root: string, tables: KernelTables): void {
  const rule = {
    class: 'web',
    protocol: 'TCP',
    port: 80,
    bits: 16,
    rule: 'NetworkPolicy shop/web ingress[0]',
  } as const;
  const set = { direction: 'ingress', policies: ['shop/web'], action: 'drop', entries: [rule] } as const;
  const target = {
    classes: new Map([['10.244.2.6/32', 'web']]),
    sets: new Map([['web', set]]),
    subjects: new Map([[ip('10.244.1.5'), { pod: 'shop/web', ingress: 'web' }]]),
  };
  new PolicyTables(tables, () => 0).sync(target, [], { syncEndpoints: () => 0, nextEpoch: () => undefined });
  using pods = openTable(root, MAPS.weir_pods);
  pods.set(ip('10.244.2.6'), { text: 'shop/client' });
  const entry = { seen: 1n, egress: 0, ingress: 1, egressRule: 0, ingressRule: 1, lowerBegan: 1 };
  const ports = { sourcePort: 1234, destinationPort: 80, protocol: 6 };
  using admitted4 = openTable(root, MAPS.weir_admitted4);
  admitted4.set({ source: 0xc0000209, destination: 0xcb007107, ...ports }, entry);
  using admitted6 = openTable(root, MAPS.weir_admitted6);
  admitted6.set({ source: ip('fd00::9'), destination: ip('fd00:96::10'), ...ports }, entry);
}

function fillFlows(root: string): void {
  const address = ip('10.244.2.6');
  const common = { seen: 1n, service: 1, backend: 1, state: FLOW_STATE.NEW, flags: 0, forwarding: FORWARDING.NAT };
  const flow = { ...common, kind: FLOW_KIND.FORWARD, address, port: 8080, nat: ip('::'), natPort: 0 };
  const ports = { sourcePort: 1234, destinationPort: 80, protocol: 6 };
  using flows4 = openTable(root, MAPS.weir_flows4);
  flows4.set({ source: 0xc0000209, destination: 0xcb007107, ...ports }, flow);
  const key6 = { source: ip('fd00::9'), destination: ip('fd00:96::10'), ...ports };
  for (const map of [MAPS.weir_flows6, MAPS.weir_snat]) {
    using table = openTable(root, map);
    table.set(key6, flow);
  }
}

/** A segment of the arena prints 5 MB. */
const LONGEST_DUMP = 32 << 20;

/** The example's command, run on a real map. A lookup, where a dump would be too long to be of use, asks for the first entry. */
function real(root: string, { how, map }: Example): string {
  const key = how === 'lookup' ? ['key', '0', '0', '0', '0'] : [];
  const command = ['map', how, 'pinned', join(root, map), ...key];
  return execFileSync('bpftool', command, { encoding: 'utf8', maxBuffer: LONGEST_DUMP }).trimEnd();
}

/** Shapes of all entries that a text shows, without repetitions. */
function shapes(text: string): string[] {
  if (!/^[[{]/.test(text)) return [text.replace(/\b[0-9a-f]{2}\b/g, 'xx').replace(/\d+/g, 'N')];
  const value = JSON.parse(text) as unknown;
  return [...new Set((Array.isArray(value) ? value : [value]).map(shape))];
}

/** Names in their order, kinds of values, lengths of arrays; of values by CPU one stands for all. */
function shape(value: unknown): string {
  if (Array.isArray(value)) {
    const kinds = [...new Set(value.map(shape))];
    return value.every((item) => typeof item === 'number') ? `number[${value.length}]` : `[${kinds.join(' | ')}]`;
  }
  if (typeof value !== 'object' || value === null) return typeof value;
  return `{${Object.entries(value)
    .map(([name, of]) => `${name}: ${shape(of)}`)
    .join(', ')}}`;
}

test('every map has an example in the document', (t) => {
  const shown = EXAMPLES.map(({ map }) => map).sort();
  t.deepEqual(shown, [...Object.keys(MAPS), 'weir_slots_0'].sort());
});

test('the examples have the fields that bpftool prints', (t) => {
  const root = givenRoot(t);
  fill(root);
  for (const example of EXAMPLES) t.deepEqual(shapes(example.text), shapes(real(root, example)), example.map);
});

/** Rows of the table that follows a place in the document, as cells without marks. */
function rowsAfter(at: number): string[][] {
  const lines = TEXT.slice(at).split('\n').slice(1);
  const start = lines.findIndex((line) => line.startsWith('|'));
  const length = lines.slice(start).findIndex((line) => !line.startsWith('|'));
  const rows = lines.slice(start + 2, start + length);
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', '')),
  );
}

test('the tables of fields are those of the types', (t) => {
  const btf = parseObject(readFileSync(OBJECT));
  const structs = new Map(btf.types.flatMap((type) => (type.kind === 'struct' ? [[type.name, type] as const] : [])));
  const described = new Set<string>();
  for (const { 1: name = '', 2: size, index } of TEXT.matchAll(/`struct (\w+)`, (\d+) bytes(?:[:,]|, once[^\n]*:)/g)) {
    const struct = structs.get(name);
    t.is(struct?.size, Number(size), name);
    if (described.has(name) || name === 'ip') continue;
    described.add(name);
    const order = ({ type }: Member): string => (btf.nameOf(type).startsWith('__be') ? 'network' : 'host');
    const fields = struct?.members.map((member) => [
      member.offset,
      btf.sizeOf(member.type),
      member.name,
      order(member),
    ]);
    const shown = rowsAfter(index).map(([offset, bytes, field, how]) => [
      Number(offset),
      Number(bytes),
      field,
      how === 'bytes' ? 'host' : how,
    ]);
    t.deepEqual(shown, fields, name);
  }
  const used = new Set(Object.values(MAPS).flatMap(({ key, value }) => [key.name, value.name]));
  t.deepEqual(
    [...used].filter((name) => structs.has(name) && name !== 'ip' && !described.has(name)),
    [],
  );
});

test('the tables of numbers are those of the enums', (t) => {
  const shownEnums = [...TEXT.matchAll(/^### `enum (\w+)`$/gm)];
  t.deepEqual(shownEnums.map(([, name = '']) => name.toUpperCase()).sort(), Object.keys(ENUMS).sort());
  for (const { 1: name = '', index } of shownEnums) {
    const wanted = Object.entries(ENUMS[name.toUpperCase()] ?? {}).filter(([short]) => short !== 'COUNT');
    const shown = rowsAfter(index).map(([number, full = '']) => [full.replace(/^[A-Z]+?_/, ''), Number(number)]);
    t.deepEqual(shown, wanted, name);
  }
});

test('the reasons have the words of the command line', (t) => {
  const at = TEXT.indexOf('### `enum reason`');
  const shown = rowsAfter(at).map(([number, , meaning]) => [Number(number), meaning]);
  t.deepEqual(
    shown,
    Object.entries(REASON_TEXT).map(([number, { name, text }]) => [Number(number), `${name}: ${text}`]),
  );
});
