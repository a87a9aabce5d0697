/**
 * Runs in a guest whose kernel has IPVS: a node changes from BPF to IPVS, back, and to IPVS again, under connections that are
 * held and under new ones that never cease. Exits other than 0 with what was not so.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { stateDirectory } from '../../src/ipvs/state-file.js';
import { FRONTENDS, Shop } from '../netns/shop.js';
import { type Agent, type Inhabitant, type Node, until } from '../netns/world.js';

interface Held {
  readonly who: Inhabitant;
  readonly id: number;
  readonly backend: string;
}

/** Datagrams from one port to one address. */
interface Asked {
  readonly who: Inhabitant;
  readonly host: string;
  readonly localPort: number;
  readonly backend: string;
}

/** Of flows that go on: a question from time to time, or what is idle ends. */
const alive: Asked[] = [];
/** Two questions at once cannot have the same port. */
let turn: Promise<void> = Promise.resolve();
const pulse = setInterval(() => void answerAlike(alive), 10_000);

const SETTINGS = ['net/ipv4/ip_forward', 'net/ipv4/conf/all/arp_ignore', 'net/ipv4/conf/all/arp_announce'];

await using shop = await Shop.open({ annotations: { 'weir.io/scheduler': 'rr' } });
const { world, a, client } = shop;
const shopper = shop.shopper.inhabitant;
const before = settings(world.node('node-c', 3));
const visits = [
  [client, FRONTENDS.v4.external],
  [client, FRONTENDS.v6.external],
  [shopper, FRONTENDS.v4.clusterIp],
] as const;

const first = await holdAll('BPF');
const firstAsked = await askAll(5001);
await client.startsLoad(FRONTENDS.v4.external, 80, 2);
await shopper.startsLoad(FRONTENDS.v4.clusterIp, 80, 2);

const ipvs = await becomes('ipvs', '--drain-timeout=600s');
await ipvs.says(/takeover: IPVS has what is new/);
assert.equal(await shop.agents[0]?.ended(), 0, 'the first agent has ended well');
assert.equal(a.weir<{ dataplane: string }>('status').dataplane, 'ipvs');
await goOn(first);
await answerAlike(firstAsked);
const second = await holdAll('IPVS');
const secondAsked = await askAll(5011);

const bpf = await becomes('bpf', '--drain-timeout=600s', '--takeover-grace=1s');
await bpf.says(/takeover: BPF has what is new/);
assert.equal(await ipvs.ended(), 0, 'the second agent has ended well');
assert.equal(a.weir<{ dataplane: string }>('status').dataplane, 'bpf');
await goOn(first);
await goOn(second);
await answerAlike(firstAsked);
await answerAlike(secondAsked);
const third = await holdAll('BPF again');

for (const who of [client, shopper]) {
  const { ok, failed, errors } = await who.endsLoad();
  process.stdout.write(`${who.name}: ${ok} new connections, ${failed} failed ${errors.join()}\n`);
  assert.ok(ok > 0);
  assert.equal(failed, 0, `new connections of ${who.name}: ${errors.join()}`);
}

alive.length = 0;
a.run('ipvsadm', '--set', '0', '0', '5');
await answerAlike(secondAsked);
await release(second);
await bpf.says(/takeover: complete/, 20_000);
assert.ok(!existsSync(stateDirectory(a.bpfRoot)), 'nothing is left of IPVS');
assert.equal(a.run('ipvsadm', '-Sn'), '');
assert.doesNotMatch(a.run('ip', 'link'), /weir-/);
await goOn(first);
await goOn(third);

const last = await becomes('ipvs', '--drain-timeout=1s');
await last.says(/takeover: the time is over, connections=\d+/, 20_000);
await last.says(/takeover: complete/, 20_000);
assert.ok(!existsSync(a.bpfRoot), 'nothing is left of BPF');
assert.doesNotMatch(a.run('tc', 'filter', 'show', 'dev', 'eth0', 'ingress'), /weir_/);
for (const { who, id } of first) assert.match(await who.fails(who.speaks(id)), /ECONNRESET|ended|closed/i);
for (const [who, host] of visits) await who.gets(host, 80);

clearInterval(pulse);
await last.kill('SIGTERM');
process.stdout.write(a.run(a.weirCommand, 'cleanup', '--bpf-root', a.bpfRoot));
assert.deepEqual(settings(a), before, 'settings are as they were');
assert.doesNotMatch(a.run('ip', 'link'), /weir-/);
assert.equal(a.run('nft', 'list', 'tables'), '');
assert.ok(!existsSync(stateDirectory(a.bpfRoot)));

/** One connection to each of two backends, from everywhere. */
async function holdAll(dataplane: string): Promise<Held[]> {
  const all: Held[] = [];
  for (const [who, host] of visits) {
    for (let i = 0; i < 2; i++) {
      const { id, reply } = await who.holds(host, 80);
      all.push({ who, id, backend: reply.who });
    }
  }
  process.stdout.write(`held with ${dataplane}: ${all.map(({ who, backend }) => `${who.name}>${backend}`).join()}\n`);
  return all;
}

async function goOn(held: readonly Held[]): Promise<void> {
  for (const { who, id, backend } of held) assert.equal((await who.speaks(id)).who, backend);
}

/** From some ports, so that chance alone cannot give each the backend that it had. Once more, because one question makes no long flow. */
async function askAll(port: number): Promise<Asked[]> {
  const all: Asked[] = [];
  for (const [who, host] of visits) {
    for (let localPort = port; localPort < port + 4; localPort++)
      all.push({ who, host, localPort, backend: (await who.asks(host, 53, { localPort })).who });
  }
  await answerAlike(all);
  alive.push(...all);
  return all;
}

function answerAlike(asked: readonly Asked[]): Promise<void> {
  turn = turn.then(async () => {
    for (const { who, host, localPort, backend } of asked)
      assert.equal((await who.asks(host, 53, { localPort })).who, backend, `datagrams of ${who.name} to ${host}`);
  });
  return turn;
}

async function release(held: readonly Held[]): Promise<void> {
  for (const { who, id } of held) await who.releases(id);
}

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
