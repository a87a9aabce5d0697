/** The table `weir` in nftables itself: what was written is what is read, and changes are differences. */
import { execFileSync, spawn } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import { plan, type Row, toRows } from '../../src/core/plan.js';
import { parseCount, parseTable } from '../../src/ipvs/nft.js';
import { countSet } from '../../src/ipvs/records.js';
import { refusalReason } from '../../src/ipvs/refusals.js';
import { tableChanges, versionSet, wholeTable } from '../../src/ipvs/ruleset.js';
import { ip } from '../helpers/model.js';
import { batch, type Inhabitant, run, sysctl, until, World } from './world.js';

const OPTIONS = { segment: { 4: 1440, 6: 1400 }, masqueradeAll: false, serviceCidr: [] };
const row = (table: string, key: string, value = ''): Row => ({ table, key, value });
const ROWS = toRows([
  row('vips4', '10.96.0.10'),
  row('vips6', 'fd00:96::10'),
  row('local4', '10.244.1.10'),
  row('hairpin6', 'fd00:244:1::a . fd00:244:1::a'),
  row('services4', '10.96.0.10 . tcp . 80'),
  row('services6', 'fd00:96::10 . sctp . 36412'),
  row('outside4', '10.0.0.1 . tcp . 30080', '1459617793'),
  row('inside6', 'fd00::1 . udp . 30053', '1459617794'),
  row('tunnelled4', '192.0.2.80 . tcp . 80', '1459617795'),
  row('restricted4', '192.0.2.80 . tcp . 80'),
  row('admitted_tcp4', '192.0.2.80 . 80 . 10.0.0.0/8'),
  row('admitted_tcp4', '192.0.2.80 . 80 . 192.168.1.7'),
  row('admitted_tcp6', '2001:db8::80 . 80 . fd00:7::/64'),
  row('dsr6', '2001:db8::80 . tcp . 80'),
  row('refused_outside4', '10.96.0.11 . tcp . 80', 'goto no_local_endpoint'),
  row('refused_inside4', '10.96.0.11 . tcp . 80', 'goto no_endpoint'),
  row('tunnel_sources4', '10.0.0.2'),
  row('tunnel_sources6', 'fd00:7::/64'),
  row('tunnel_ends4', '10.244.1.10', '10.0.0.1'),
  row('tunnel_ends6', 'fd00:244:1::a', 'fd00::1'),
  row('inside_devices', 'lo'),
  row('bridges', 'cni0'),
  row('node_ports4', 'tcp . 30080', '1459617800'),
  row('dsr_node_ports6', 'tcp . 30080'),
  row('inside_devices', 'meta'),
  row('inside_devices', '10g'),
  row('vips6', '::808:808'),
  row('cluster4', '10.244.0.0/16'),
  row('cluster6', '::/0'),
]);

function loadNft(space: string, text: string): void {
  execFileSync('ip', ['netns', 'exec', space, '/usr/sbin/nft', '-f', '-'], { input: text });
}

test('rows of every set and map are read back as they were written, and changed one by one', (t) => {
  const space = `nft-${process.pid}`;
  run('ip', 'netns', 'add', space);
  t.teardown(() => run('ip', 'netns', 'del', space));
  const nft = (args: readonly string[], input = ''): string =>
    execFileSync('ip', ['netns', 'exec', space, '/usr/sbin/nft', ...args], { encoding: 'utf8', input });
  const read = () => parseTable(nft(['-j', 'list', 'table', 'inet', 'weir']));

  nft(['-f', '-'], wholeTable(ROWS, OPTIONS));
  t.deepEqual(plan(read().rows, ROWS, {}), []);
  t.true(read().names.has(versionSet(OPTIONS)));

  const next = toRows([
    ...[...ROWS.values()].filter(({ table }) => table !== 'vips4' && table !== 'outside4'),
    row('outside4', '10.0.0.1 . tcp . 30080', '1459617799'),
    row('refused_outside6', 'fd00:96::11 . tcp . 80', 'goto no_endpoint'),
  ]);
  nft(['-f', '-'], tableChanges(plan(ROWS, next, {})));
  t.deepEqual(plan(read().rows, next, {}), []);

  nft(['-f', '-'], wholeTable(ROWS, OPTIONS));
  t.deepEqual(plan(read().rows, ROWS, {}), [], 'the whole again, in place of what is there');
  t.not(
    versionSet(OPTIONS),
    versionSet({ ...OPTIONS, segment: { 4: 1400, 6: 1360 } }),
    'other chains are another version',
  );
});

test('what a service refuses or drops is answered as it should be, and remembered by its reason', async (t) => {
  await using world = await World.create();
  const node = world.node('node-a', 1);
  const local = await world.inhabit('local', node.space);
  const [vip, lost, nobodys] = ['10.96.0.10', '10.96.0.11', '10.96.0.99'];
  for (const address of [vip, lost, nobodys]) world.routeAddress(address, node);
  sysctl(node.space, { 'net.ipv4.ip_forward': 1 });
  batch(node.space, [`addr add ${vip}/32 dev lo`, `addr add ${lost}/32 dev lo`]);
  const rows = [
    ...[vip, lost].map((address) => row('vips4', address)),
    ...[80, 81].map((port) => row('services4', `${vip} . tcp . ${port}`)),
    row('services4', `${lost} . udp . 53`),
    row('refused_outside4', `${vip} . tcp . 80`, 'goto no_endpoint'),
    row('refused_inside4', `${vip} . tcp . 80`, 'goto no_endpoint'),
    row('refused_outside4', `${lost} . udp . 53`, 'goto no_local_endpoint'),
    row('restricted4', `${vip} . tcp . 81`),
    row('admitted_tcp4', `${vip} . 81 . 10.8.0.0/16`),
    row('inside_devices', 'lo'),
  ];
  const serviceCidr = [{ address: ip('10.96.0.0'), bits: 12 }];
  const load = (text: string): void => loadNft(node.space, text);
  load(wholeTable(toRows(rows), { ...OPTIONS, serviceCidr }));

  const tcp = (who: Inhabitant, host: string, port: number): Promise<string> =>
    who.fails(who.gets(host, port, { timeout: 500 }));
  const udp = (who: Inhabitant, host: string, port: number): Promise<string> =>
    who.fails(who.asks(host, port, { timeout: 500 }));
  const { client } = world;
  /* first of all: the kernel allows each client few answers, and a redirect, were there one, counts as one */
  for (const who of [client, local]) {
    t.regex(await tcp(who, nobodys, 80), /ECONNREFUSED/, `nobody’s address, ${who.name}`);
    t.regex(await udp(who, nobodys, 53), /ECONNREFUSED/, `nobody’s address, ${who.name}`);
  }
  t.regex(await tcp(client, vip, 80), /ECONNREFUSED/, 'no endpoint');
  t.regex(await tcp(local, vip, 80), /ECONNREFUSED/, 'no endpoint, for a process of the node');
  t.regex(await udp(client, lost, 53), /timeout/, 'no local endpoint');
  t.regex(await tcp(client, vip, 81), /timeout/, 'not of the range');
  t.regex(await tcp(client, vip, 4444), /ECONNREFUSED/, 'unknown port');
  t.regex(await udp(client, vip, 4444), /ECONNREFUSED/, 'unknown port');

  const tunnels = [
    'import socket',
    'socket.socket(socket.AF_INET, socket.SOCK_RAW, 4).sendto(bytes(40), ("10.0.0.1", 0))',
    'socket.socket(socket.AF_INET6, socket.SOCK_RAW, 41).sendto(bytes(40), ("fd00::1", 0))',
  ].join('\n');
  execFileSync('ip', ['netns', 'exec', client.space, 'python3', '-c', tunnels]);
  const dropped = (): unknown =>
    parseCount(node.run('/usr/sbin/nft', '-j', 'list', 'set', 'inet', 'weir', countSet('dsr_source')));
  const expected = { packets: 2, bytes: 60 + 80 };
  /* the first IPv6 packet between two nodes waits for its neighbour's answer */
  await until(
    () => isDeepStrictEqual(dropped(), expected),
    3000,
    () => `counted ${JSON.stringify(dropped())}`,
  );

  const table = parseTable(node.run('/usr/sbin/nft', '-j', 'list', 'table', 'inet', 'weir'));
  t.deepEqual(plan(table.rows, toRows(rows), {}), [], 'records are no rows');
  const seen = table.records.map(({ source, destination, port, ...record }) =>
    [refusalReason(record), record.protocol, source, destination, port].join(' '),
  );
  t.deepEqual(
    seen.sort(),
    [
      'dsr-source 4 10.9.0.10 10.0.0.1 0',
      'dsr-source 41 fd00:9::10 fd00::1 0',
      `no-endpoint TCP 10.9.0.10 ${vip} 80`,
      `no-endpoint TCP ${vip} ${vip} 80`,
      `no-local-endpoint UDP 10.9.0.10 ${lost} 53`,
      `source-range TCP 10.9.0.10 ${vip} 81`,
      `unallocated TCP 10.0.0.1 ${nobodys} 80`,
      `unallocated TCP 10.9.0.10 ${nobodys} 80`,
      `unallocated UDP 10.0.0.1 ${nobodys} 53`,
      `unallocated UDP 10.9.0.10 ${nobodys} 53`,
      `unknown-port TCP 10.9.0.10 ${vip} 4444`,
      `unknown-port UDP 10.9.0.10 ${vip} 4444`,
    ].sort(),
  );
  t.true(table.records.every(({ count, age }) => count >= 1 && age >= 0 && age < 60));
});

test('a connection ends with the last backend that has any, and not before', async (t) => {
  await using world = await World.create();
  const node = world.node('node-a', 1);
  const vip = '10.96.0.10';
  world.routeAddress(vip, node);
  batch(node.space, [`addr add ${vip}/32 dev lo`]);
  const server = await world.inhabit('server', node.space);
  await server.serve(80);
  const key = `${vip} . tcp . 80`;
  const rows = [row('vips4', vip), row('services4', key)];
  const load = (text: string): void => loadNft(node.space, text);
  load(wholeTable(toRows(rows), OPTIONS));
  const held = await world.client.holds(vip, 80);
  load(tableChanges(plan(toRows([]), toRows([row('refused_outside4', key, 'goto no_local_endpoint')]), {})));
  t.is((await world.client.speaks(held.id)).who, 'server', 'it goes on');
  t.regex(await world.client.fails(world.client.gets(vip, 80, { timeout: 500 })), /timeout/, 'nothing new');
  load(tableChanges(plan(toRows([]), toRows([row('lost_outside4', key)]), {})));
  t.regex(await world.client.fails(world.client.speaks(held.id)), /ECONNRESET/, 'it is reset');
  t.regex(
    await world.client.fails(world.client.gets(vip, 80, { timeout: 500 })),
    /timeout/,
    'what is new is still dropped',
  );
});

test('what another node sends through a tunnel to nobody here is dropped without a word: its client asks again', async (t) => {
  await using world = await World.create();
  const node = world.node('node-a', 1);
  const { client } = world;
  const [vip, unknown, asked] = ['10.96.0.10', '10.96.0.11', '10.9.9.1'];
  run('ip', '-n', node.space, 'link', 'add', 'weir-ipip0', 'type', 'veth', 'peer', 't0', 'netns', client.space);
  sysctl(node.space, { 'net.ipv4.ip_forward': 1 });
  batch(node.space, [`addr add ${vip}/32 dev lo`, 'addr add 10.250.0.1/24 dev weir-ipip0', 'link set weir-ipip0 up']);
  batch(client.space, [
    'addr add 10.250.0.2/24 dev t0',
    'link set t0 up',
    ...[vip, unknown, asked].map((address) => `route add ${address}/32 via 10.250.0.1`),
  ]);
  batch(node.space, [`addr add ${asked}/32 dev lo`]);
  const server = await world.inhabit('server', node.space);
  await server.serve(80);
  const rows = [
    ...[row('vips4', vip), row('services4', `${vip} . tcp . 80`), row('services4', `${vip} . udp . 53`)],
    ...[row('tunnel_sources4', asked), row('services4', `${asked} . tcp . 30080`)],
  ];
  const load = (text: string): void => loadNft(node.space, text);
  load(wholeTable(toRows(rows), OPTIONS));
  const held = await client.holds(vip, 80);
  const gone = ['tcp . 80', 'udp . 53'].map((port) =>
    row('refused_tunnelled4', `${vip} . ${port}`, 'goto dsr_frontend'),
  );
  const nodePort = row('refused_node_ports4', 'tcp . 30080', 'goto dsr_frontend');
  load(tableChanges(plan(toRows([]), toRows([...gone, nodePort]), {})));
  t.is((await client.speaks(held.id)).who, 'server', 'a connection goes on');
  const tcp = (host: string, port: number): Promise<string> => client.fails(client.gets(host, port, { timeout: 500 }));
  t.regex(await tcp(vip, 80), /timeout/, 'no backend here');
  t.regex(await client.fails(client.asks(vip, 53, { timeout: 500 })), /timeout/, 'no backend for datagrams');
  t.regex(await tcp(asked, 30080), /timeout/, 'no backend of a node port');
  t.regex(await tcp(vip, 81), /timeout/, 'a frontend that is not known yet');
  t.regex(await tcp(unknown, 80), /timeout/, 'an address that is not known yet');
  const list = node.run('/usr/sbin/nft', '-j', 'list', 'set', 'inet', 'weir', countSet('dsr_frontend'));
  t.true(JSON.stringify(parseCount(list)).length > 2);
  const { records } = parseTable(node.run('/usr/sbin/nft', '-j', 'list', 'table', 'inet', 'weir'));
  t.deepEqual(
    records.map((record) => `${refusalReason(record)} ${record.protocol} ${record.destination} ${record.port}`).sort(),
    [
      `dsr-frontend TCP ${asked} 30080`,
      `dsr-frontend TCP ${unknown} 80`,
      `dsr-frontend TCP ${vip} 80`,
      `dsr-frontend TCP ${vip} 81`,
      `dsr-frontend UDP ${vip} 53`,
    ].sort(),
  );
});

/** Prints the last eight bytes of what comes in tunnels to a network namespace, until whoever started it ends. */
const EARS = `
import select, socket, sys
ears = [socket.socket(socket.AF_INET, socket.SOCK_RAW, 4), socket.socket(socket.AF_INET6, socket.SOCK_RAW, 41)]
print("ready", flush=True)
while True:
  for ear in select.select(ears + [sys.stdin], [], [])[0]:
    if ear is sys.stdin: sys.exit()
    print(ear.recv(2000)[-8:].decode(), flush=True)
`;

test('a tunnel that names a pod of this node ends at the node, if it comes from another', async (t) => {
  await using world = await World.create();
  const node = world.node('node-a', 1);
  const pod = await world.pod(node, 'web-1');
  sysctl(node.space, { 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
  batch(world.client.space, ['addr add 10.9.0.11/24 dev eth0', 'addr add fd00:9::11/64 dev eth0 nodad']);
  const rows = [
    ...[row('tunnel_ends4', pod.v4, '10.0.0.1'), row('tunnel_ends6', pod.v6, 'fd00::1')],
    ...[row('tunnel_sources4', '10.9.0.10'), row('tunnel_sources6', 'fd00:9::10')],
  ];
  loadNft(node.space, wholeTable(toRows(rows), OPTIONS));
  const heard = { node: '', pod: '' };
  for (const [who, space] of [['node', node.space] as const, ['pod', pod.inhabitant.space] as const]) {
    const ears = spawn('ip', ['netns', 'exec', space, 'python3', '-c', EARS]);
    t.teardown(() => ears.kill());
    ears.stdout.on('data', (text: Buffer) => (heard[who] += text.toString()));
  }
  const words = [
    ['4', '10.9.0.10', pod.v4, 'known-v4'],
    ['6', 'fd00:9::10', pod.v6, 'known-v6'],
    ['4', '10.9.0.11', pod.v4, 'other-v4'],
    ['6', 'fd00:9::11', pod.v6, 'other-v6'],
  ];
  const say = [
    'import socket, sys',
    'version, source, pod, word = sys.argv[1:]',
    'family, protocol = (socket.AF_INET, 4) if version == "4" else (socket.AF_INET6, 41)',
    'mouth = socket.socket(family, socket.SOCK_RAW, protocol)',
    'mouth.bind((source, 0))',
    'mouth.sendto(bytes(32) + word.encode(), (pod, 0))',
  ].join('\n');
  const ready = (): boolean => Object.values(heard).every((text) => text.startsWith('ready'));
  await until(ready, 5000, () => JSON.stringify(heard));
  const said = (text: string): string[] => [...new Set(text.trim().split('\n').slice(1))].sort();
  const complete = (): boolean => Object.values(heard).every((text) => said(text).length === 2);
  /* what is said before neighbours know each other may get lost */
  for (let i = 0; i < 10 && !complete(); i++) {
    for (const word of words) execFileSync('ip', ['netns', 'exec', world.client.space, 'python3', '-c', say, ...word]);
    await setTimeout(300);
  }
  t.deepEqual(said(heard.node), ['known-v4', 'known-v6']);
  t.deepEqual(said(heard.pod), ['other-v4', 'other-v6']);
});
