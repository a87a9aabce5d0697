/**
 * Runs in a guest whose kernel has IPVS: addresses that are not Weir's to have, what the kernel does not take, and pods that nobody
 * knows; everything else goes on. Exits other than 0 with what was not so.
 */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { service } from '../netns/manifests.js';
import { FRONTENDS, Shop } from '../netns/shop.js';
import { type Pod, until } from '../netns/world.js';

const NODE_B = ['10.0.0.2', 'fd00::2'];
const TAKEN = '203.0.113.9';
const FRESH = '203.0.113.10';
const MODULES = '/etc/modprobe.d/weir-test.conf';

await using shop = await Shop.open({ flags: ['--default-deny-unknown'] });
const { a, world, client, web1, web2, shopper } = shop;
const [agent] = shop.agents;
assert.ok(agent);
const at = FRONTENDS.v4;
knows(web1, web2, shopper);
await shop.settled();

shop.serves([web1, web2], { externalIPs: [at.external, ...NODE_B] });
await shop.settled();
const bound = (): string => a.run('ip', 'addr', 'show', 'weir-ipvs0');
for (const address of NODE_B) assert.ok(!bound().includes(` ${address}/`), bound());
a.run('ping', '-c', '1', '-W', '20', '10.0.0.2');
const host = await world.inhabit('host', a.space);
for (const who of [host, shopper.inhabitant]) assert.match((await who.gets('10.0.0.2', 80)).who, /^web-/);
process.stdout.write('the address of another node stays its own, and is served there\n');

shop.serves([web1, web2], { externalTrafficPolicy: 'Local' });
await shop.settled();
const held = [await shopper.inhabitant.holds(at.external, 80), await shopper.inhabitant.holds(at.external, 80)];
shop.serves([web1], { externalTrafficPolicy: 'Local' });
await shop.settled();
for (const { id, reply } of held) assert.equal((await shopper.inhabitant.speaks(id)).who, reply.who, 'it goes on');
for (const { id } of held) await shopper.inhabitant.releases(id);
process.stdout.write('connections from here go on when here and there have the same backends\n');

a.run('ipvsadm', '-A', '-t', `${TAKEN}:22`, '-s', 'rr');
await setTimeout(20_000); // the agent looks each second, which is long here
shop.serves([web1, web2], { externalIPs: [at.external, TAKEN] });
await agent.says(/another program has virtual servers at 203\.0\.113\.9/, 20_000);
shop.serves([web1], { externalIPs: [at.external, TAKEN] });
await shop.settled();
assert.ok(a.run('ipvsadm', '-Sn').includes(`-t ${TAKEN}:22`));
assert.ok(!bound().includes(TAKEN), bound());
assert.equal((await client.gets(at.external, 80)).who, 'web-1');
a.run('ipvsadm', '-D', '-t', `${TAKEN}:22`);
await until(
  () => bound().includes(TAKEN),
  20_000,
  () => `${TAKEN} is free, and not served: ${agent.log.slice(-2000)}`,
);
process.stdout.write('an address at which another program has virtual servers is left to it for as long\n');

writeFileSync(MODULES, 'install ip_vs_dh /bin/false\n');
const fresh = { name: 'fresh', externalIPs: [FRESH], annotations: { 'weir.io/scheduler': 'dh' }, pods: [web1] };
world.routeAddress(FRESH, a);
world.write('fresh.json', service(fresh));
await agent.says(/Service shop\/fresh: scheduler: .*kernel module ip_vs_dh is not there/, 20_000);
assert.match(await client.fails(client.gets(FRESH, 80)), /ECONNREFUSED/);
shop.serves([web2]);
await until(
  () => !a.run('ipvsadm', '-Ln', '-t', `${at.external}:80`).includes(`${web1.v4}:8080 `),
  20_000,
  () => `what is nobody's fault has to wait: ${agent.log.slice(-2000)}`,
);
assert.equal((await client.gets(at.external, 80)).who, 'web-2');
rmSync(MODULES);
await agent.says(/Service shop\/fresh: no longer a problem/, 20_000);
await shop.settled();
assert.equal((await client.gets(FRESH, 80)).who, 'web-1');
process.stdout.write('a scheduler that the kernel lacks keeps one service from being served, as long as it lacks it\n');

knows(web1, web2);
await shop.settled();
assert.match(await shopper.inhabitant.fails(shopper.inhabitant.gets(at.clusterIp, 80)), /timeout/);
const drops = a.weir<{ reason: string; source?: string }[]>('drops');
assert.ok(
  drops.some((drop) => drop.reason === 'unknown-endpoint' && JSON.stringify(drop).includes(shopper.v4)),
  JSON.stringify(drops),
);
assert.equal((await client.gets(at.external, 80)).who, 'web-2');
process.stdout.write('a pod that nobody knows reaches no service\n');

function knows(...pods: Pod[]): void {
  world.write(
    'pods.json',
    pods.map(({ name, node, v4, v6 }) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'shop' },
      spec: { nodeName: node.name, containers: [{ name: 'main' }] },
      status: { phase: 'Running', podIP: v4, podIPs: [{ ip: v4 }, { ip: v6 }] },
    })),
  );
}
