/**
 * Runs in a guest whose kernel has IPVS: a node changes from BPF to IPVS, back, and to IPVS again, under connections that are
 * held and under new ones that never cease. Exits other than 0 with what was not so.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { stateDirectory } from '../../src/ipvs/state-file.js';
import { FRONTENDS, Shop } from '../netns/shop.js';
import { type Agent, type Node, until } from '../netns/world.js';
import { Conversations } from './conversations.js';

const SETTINGS = ['net/ipv4/ip_forward', 'net/ipv4/conf/all/arp_ignore', 'net/ipv4/conf/all/arp_announce'];

await using shop = await Shop.open({ annotations: { 'weir.io/scheduler': 'rr' } });
const { world, a, client } = shop;
const shopper = shop.shopper.inhabitant;
const before = settings(world.node('node-c', 3));
const visits = [
  { who: client, host: FRONTENDS.v4.external, port: 80, datagrams: 53 },
  { who: client, host: FRONTENDS.v6.external, port: 80, datagrams: 53 },
  { who: shopper, host: FRONTENDS.v4.clusterIp, port: 80, datagrams: 53 },
];

const first = await Conversations.begin('begun with BPF', visits, 5001);
await client.startsLoad(FRONTENDS.v4.external, 80, 2);
await shopper.startsLoad(FRONTENDS.v4.clusterIp, 80, 2);

const ipvs = await becomes('ipvs', '--drain-timeout=600s');
await ipvs.says(/takeover: IPVS has what is new/);
assert.equal(await shop.agents[0]?.ended(), 0, 'the first agent has ended well');
assert.equal(a.weir<{ dataplane: string }>('status').dataplane, 'ipvs');
await first.goOn();
const second = await Conversations.begin('begun with IPVS', visits, 5021);

const bpf = await becomes('bpf', '--drain-timeout=600s', '--takeover-grace=1s');
await bpf.says(/takeover: BPF has what is new/);
assert.equal(await ipvs.ended(), 0, 'the second agent has ended well');
assert.equal(a.weir<{ dataplane: string }>('status').dataplane, 'bpf');
await first.goOn();
await second.goOn();
const third = await Conversations.begin('begun with BPF again', visits, 5041);

for (const who of [client, shopper]) {
  const { ok, failed, errors } = await who.endsLoad();
  process.stdout.write(`${who.name}: ${ok} new connections, ${failed} failed ${errors.join()}\n`);
  assert.ok(ok > 0);
  assert.equal(failed, 0, `new connections of ${who.name}: ${errors.join()}`);
}

a.run('ipvsadm', '--set', '0', '0', '5');
await second.goOn();
await second.end();
await bpf.says(/takeover: complete/, 20_000);
assert.ok(!existsSync(stateDirectory(a.bpfRoot)), 'nothing is left of IPVS');
assert.equal(a.run('ipvsadm', '-Sn'), '');
assert.doesNotMatch(a.run('ip', 'link'), /weir-/);
await first.goOn();
await third.goOn();

await first[Symbol.asyncDispose]();
await third[Symbol.asyncDispose]();
const last = await becomes('ipvs', '--drain-timeout=1s');
await last.says(/takeover: the time is over, connections=\d+/, 20_000);
await last.says(/takeover: complete/, 20_000);
assert.ok(!existsSync(a.bpfRoot), 'nothing is left of BPF');
assert.doesNotMatch(a.run('tc', 'filter', 'show', 'dev', 'eth0', 'ingress'), /weir_/);
await first.areReset();
for (const { who, host, port } of visits) await who.gets(host, port);

await last.kill('SIGTERM');
process.stdout.write(a.run(a.weirCommand, 'cleanup', '--bpf-root', a.bpfRoot));
assert.deepEqual(settings(a), before, 'settings are as they were');
assert.doesNotMatch(a.run('ip', 'link'), /weir-/);
assert.equal(a.run('nft', 'list', 'tables'), '');
assert.ok(!existsSync(stateDirectory(a.bpfRoot)));

/** The other dataplane takes over on node a. */
async function becomes(dataplane: string, ...flags: string[]): Promise<Agent> {
  const agent = await world.agent(a, `--dataplane=${dataplane}`, ...flags);
  await until(
    () => a.status('status') === 0,
    10_000,
    () => `${a.name} did not sync: ${agent.log}`,
  );
  return agent;
}

function settings(node: Node): string {
  return node.run('cat', ...SETTINGS.map((path) => `/proc/sys/${path}`));
}
