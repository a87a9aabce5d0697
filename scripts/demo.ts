/**
 * The embedded demo: a client, two nodes and their pods in network namespaces, an agent on each node, and a folder of manifests.
 * Ends by itself and leaves nothing; with --keep it stays, with commands to try; --stop ends one that was kept.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { service } from '../test/netns/manifests.js';
import {
  type Inhabitant,
  type Node,
  type Pod,
  removeWorld,
  run,
  type WorldRecord,
  WEIR,
  World,
} from '../test/netns/world.js';

const RECORD = '/run/weir-demo.json';
const EXTERNAL = '192.0.2.80';
const CLUSTER = '10.96.0.10';
const REQUESTS = 6;

interface Scene {
  readonly a: Node;
  readonly b: Node;
  readonly web: readonly Pod[];
  readonly shopper: Pod;
}

async function main(): Promise<number> {
  stopKept();
  if (process.argv.includes('--stop')) return 0;
  const started = Date.now();
  await using world = await World.create({ persistent: process.argv.includes('--keep') });
  const scene = await build(world);
  say('1. Who answers, and which client address they see');
  await tour(world.client, scene);
  say('2. A backend is removed while requests run');
  const failed = await removal(world, scene);
  say('3. The tables, by weir and by bpftool');
  show(scene);
  console.log(`\nDone in ${((Date.now() - started) / 1000).toFixed(0)} s.`);
  if (process.argv.includes('--keep')) keep(world, scene);
  return failed === 0 ? 0 : 1;
}

function say(title: string): void {
  console.log(`\n\x1b[1m${title}\x1b[0m`);
}

async function build(world: World): Promise<Scene> {
  const [a, b] = [world.node('node-a', 1), world.node('node-b', 2)];
  const web = [await world.pod(a, 'web-1'), await world.pod(b, 'web-2'), await world.pod(b, 'web-3')];
  const shopper = await world.pod(a, 'shopper');
  await Promise.all(web.map((pod) => pod.inhabitant.serve(8080)));
  world.routeAddress(EXTERNAL, a);
  world.write('nodes.json', [a.manifest(), b.manifest()]);
  world.write('web.json', manifest(web));
  await Promise.all([world.agent(a), world.agent(b)]);
  console.log(
    `Namespaces: a client behind a router; node-a ${a.v4} with web-1 and shopper; node-b ${b.v4} with web-2 and web-3.`,
  );
  console.log('The agents read a folder of manifests with one Service, shop/web: port 80, pods listen on 8080.');
  return { a, b, web, shopper };
}

/** rr, so that the tour meets every backend; the external address by DSR, on another port than the pods'. */
function manifest(pods: readonly Pod[]): object[] {
  const annotations = { 'weir.io/scheduler': 'rr', 'weir.io/forwarding': 'dsr' };
  return service({
    name: 'web',
    nodePort: 30080,
    clusterIPs: [CLUSTER, 'fd00:96::10'],
    externalIPs: [EXTERNAL],
    annotations,
    pods,
  });
}

async function tour(client: Inhabitant, { a, shopper }: Scene): Promise<void> {
  const stops = [
    { name: 'ClusterIP', from: shopper.inhabitant, address: shopper.v4, host: CLUSTER, port: 80 },
    { name: 'ClusterIP', from: shopper.inhabitant, address: shopper.v6, host: 'fd00:96::10', port: 80 },
    { name: 'NodePort', from: client, address: '10.9.0.10', host: a.v4, port: 30080 },
    { name: 'ExternalIP', from: client, address: '10.9.0.10', host: EXTERNAL, port: 80 },
  ];
  for (const { name, from, address, host, port } of stops) {
    const seen = new Map<string, number>();
    const clients = new Set<string>();
    for (let i = 0; i < REQUESTS; i++) {
      const reply = await from.gets(host, port);
      seen.set(reply.who, (seen.get(reply.who) ?? 0) + 1);
      clients.add(reply.client);
    }
    const who = [...seen].sort().map(([pod, count]) => `${pod} x${count}`);
    const target = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
    console.log(
      `  ${name.padEnd(10)} ${target.padEnd(18)} from ${from.name.padEnd(7)} ${address.padEnd(15)} -> ${who.join(', ')}; saw ${[...clients].join(', ')}`,
    );
  }
}

async function removal(world: World, { a, b, web }: Scene): Promise<number> {
  await world.client.startsLoad(EXTERNAL, 80, 4);
  await pause(1000);
  world.write('web.json', manifest(web.slice(0, 2)));
  await Promise.all([a.agrees(), b.agrees()]);
  await pause(1000);
  const { ok, failed, who } = await world.client.endsLoad();
  const last = await Promise.all(Array.from({ length: 6 }, () => world.client.gets(EXTERNAL, 80)));
  const answers = Object.entries(who)
    .sort()
    .map(([pod, count]) => `${pod} x${count}`);
  console.log(
    `  web-3 removed during ${ok + failed} requests to ${EXTERNAL}:80 by DSR: ${failed} failed (${answers.join(', ')})`,
  );
  console.log(`  and afterwards: ${[...new Set(last.map((reply) => reply.who))].sort().join(', ')}`);
  return failed;
}

/** One screen: the frontends of the tour by IPv4, and the first entry of one map. */
function show({ a }: Scene): void {
  const indent = (lines: readonly string[]): string => lines.map((line) => `  ${line}`).join('\n');
  const list = a
    .run(WEIR, 'service', 'list', '--bpf-root', a.bpfRoot)
    .trimEnd()
    .split(/\n(?=\S)/);
  const v4 = list.filter((frontend) => !frontend.includes('[')).join('\n');
  console.log(`  $ weir service list   (on node-a; its IPv4 frontends)\n${indent(v4.split('\n'))}`);
  const dump = run('bpftool', 'map', 'dump', 'pinned', join(a.bpfRoot, 'weir_local')).split('\n');
  console.log("  $ bpftool map dump pinned <bpf-root>/weir_local   (node-a's endpoints by service; the first)");
  const end = dump.findIndex((line) => /^ +\},?\{?$/.test(line) && line.includes('{'));
  console.log(indent([...dump.slice(0, end), `${dump[end]?.split(',')[0] ?? ''}, ...`]));
}

function keep(world: World, { a }: Scene): void {
  writeFileSync(RECORD, JSON.stringify(world.leave()));
  const on = (node: Node): string => `ip netns exec ${node.space} ${WEIR}`;
  console.log(`
The demo stays up. Try:
  ${on(a)} service list --bpf-root ${a.bpfRoot}
  ${on(a)} flow list --bpf-root ${a.bpfRoot}
  ip netns exec ${world.space('client')} bash -c 'exec 3<>/dev/tcp/${EXTERNAL}/80; echo hello >&3; cat <&3'
  bpftool map dump pinned ${join(a.bpfRoot, 'weir_frontends')}
  ls ${world.manifests}      (edit the files: the agents follow)
  make demo STOP=1           (ends it)`);
}

/** Ends a demo that an earlier call has kept. */
function stopKept(): void {
  if (!existsSync(RECORD)) return;
  removeWorld(JSON.parse(readFileSync(RECORD, 'utf8')) as WorldRecord);
  rmSync(RECORD);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

process.exitCode = await main();
