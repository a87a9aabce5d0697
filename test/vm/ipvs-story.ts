/**
 * Runs in a guest whose kernel has IPVS: backends that end, the reading commands, and what another hand does to the kernel's
 * tables. Exits other than 0 with what was not so.
 */
import assert from 'node:assert/strict';
import type { BackendListRow } from '../../src/cli/backend.js';
import type { Holder } from '../../src/cli/drain.js';
import type { FlowRow } from '../../src/cli/flow.js';
import type { ServiceRow } from '../../src/cli/service-table.js';
import { FRONTENDS, Shop } from '../netns/shop.js';
import { until } from '../netns/world.js';

await using shop = await Shop.open({ annotations: { 'weir.io/scheduler': 'random' }, flags: ['--drain-timeout=900s'] });
const { a, client, web1, web2, shopper } = shop;
const [agent] = shop.agents;
assert.ok(agent);
assert.match(agent.log, /Service shop\/web: scheduler: IPVS has no scheduler random/);
const at = FRONTENDS.v4;

const held = [await client.holds(at.external, 80), await client.holds(at.external, 80)];
const [mine, other] = ['web-2', 'web-1'].map((name) => held.find(({ reply }) => reply.who === name));
assert.ok(mine && other, 'rotation gives one to each');
const flows = a.weir<FlowRow[]>('flow', 'list');
const flow = flows.find(({ backend, frontend }) => frontend === `${at.external}:80` && backend === `${web2.v4}:8080`);
assert.equal(flow?.service, 'shop/web:main');
assert.deepEqual([flow.protocol, flow.state, flow.forwarding], ['TCP', 'established', 'nat']);
assert.match(flow.client, /^10\.9\.0\.10:\d+$/);
assert.ok(flow.idleSeconds < 300, `idle ${flow.idleSeconds}`);
const [web] = a.weir<ServiceRow[]>('service', 'list').filter(({ name }) => name === 'web');
assert.deepEqual(
  web?.frontends[0]?.backends.map((backend) => [backend.address, backend.state, backend.flows]),
  [
    [web1.v4, 'active', 1],
    [web2.v4, 'active', 1],
  ],
);
assert.deepEqual(a.weir('drops'), []);
process.stdout.write('the reading commands tell what there is\n');

shop.serves([web1]);
await shop.settled();
const listed = (): BackendListRow | undefined =>
  a.weir<BackendListRow[]>('backend', 'list').find(({ address, service }) => address === web2.v4 && service === 'web');
assert.equal((await client.speaks(mine.id)).who, 'web-2', 'it goes on');
assert.equal((await client.gets(at.external, 80)).who, 'web-1', 'nothing new');
assert.deepEqual([listed()?.state, listed()?.weight], ['terminating', 0]);
await agent.kill();
await agent.restart();
assert.equal(listed()?.state, 'terminating', 'over a restart, too');
await client.releases(mine.id);
await until(
  () => listed() === undefined,
  20_000,
  () => `a backend without connections is still there: ${a.run('ipvsadm', '-Ln')}`,
);
process.stdout.write('a removed backend keeps its connections, and goes with the last of them\n');

shop.serves([]);
await shop.settled();
assert.equal((await client.speaks(other.id)).who, 'web-1', 'the last backend keeps its connections as well');
assert.match(await client.fails(client.gets(at.external, 80)), /ECONNREFUSED/);
const { status, answer } = a.asks<Holder[]>('backend', 'drain', 'shop/web', '--wait', '0s');
assert.deepEqual([status, answer[0]?.address, answer[0]?.flows], [1, web1.v4, 1]);
await client.releases(other.id);
assert.equal(a.status('backend', 'drain', 'shop/web', '--wait', '60s'), 0);
process.stdout.write('so does the last one, while nothing new gets in\n');

const annotations = { 'weir.io/scheduler': 'rr', 'weir.io/weights': 'web-2=0' };
shop.serves([web1, web2], { annotations });
await shop.settled();
for (let i = 0; i < 3; i++) assert.equal((await client.gets(at.external, 80)).who, 'web-1', 'weight 0 gets nothing');
shop.serves([web1, web2], { affinity: 600 });
await shop.settled();
const first = (await shopper.inhabitant.gets(at.clusterIp, 80)).who;
for (let i = 0; i < 3; i++) assert.equal((await shopper.inhabitant.gets(at.clusterIp, 80)).who, first, 'affinity');
process.stdout.write('weights and session affinity hold\n');

/** Of the last rule, for the shell. */
function lastHandle(chain: string): string {
  return `$(nft -a list chain inet weir ${chain} | sed -n 's/.*# handle //p' | tail -1)`;
}
const MEDDLING = [
  ['ipvsadm', '-D', '-t', `${at.external}:80`],
  ['nft', 'delete', 'element', 'inet', 'weir', 'services4', `{ ${at.external} . tcp . 80 }`],
  ['sh', '-c', `nft replace rule inet weir refuse handle ${lastHandle('refuse')} drop`],
  ['nft', 'delete', 'table', 'inet', 'weir'],
  ['ip', 'addr', 'del', `${at.external}/32`, 'dev', 'weir-ipvs0'],
];
for (const [program = '', ...args] of MEDDLING) {
  const before = agent.log.length;
  a.run(program, ...args);
  await until(
    () => /another program has changed/.test(agent.log.slice(before)),
    5_000,
    () => `the agent has not seen ${program} ${args.join(' ')}: ${agent.log.slice(before)}`,
  );
  await a.agrees();
  await client.gets(at.external, 80);
  process.stdout.write(`put back after ${program} ${args.join(' ')}\n`);
}
await agent.kill();
a.run('ipvsadm', '-D', '-t', `${at.external}:80`);
const names = a.asks<{ table: string; key: string }[]>(
  'diff',
  '--manifests',
  shop.world.manifests,
  '--node-name',
  a.name,
);
assert.equal(names.status, 1);
assert.ok(
  names.answer.some(({ key }) => key.includes(`${at.external}:80`)),
  JSON.stringify(names.answer),
);
process.stdout.write('diff names what is gone\n');
