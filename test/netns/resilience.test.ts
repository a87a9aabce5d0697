import test from 'ava';
import { DATAPLANE, FAMILIES, FORWARDINGS, FRONTENDS, Shop } from './shop.js';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

for (const forwarding of FORWARDINGS) {
  test(`an agent that is killed and started again under load costs no connection: ${forwarding}`, async (t) => {
    await using shop = await Shop.open({ annotations: { 'weir.io/forwarding': forwarding } });
    const { client, shopper, agents } = shop;
    await client.startsLoad(FRONTENDS.v4.external, 80);
    await shopper.inhabitant.startsLoad(FRONTENDS.v6.clusterIp, 80, 2);
    const long = await client.holds(FRONTENDS.v6.external, 80);
    for (const agent of agents) {
      await agent.kill('SIGKILL');
      await pause(200);
      t.deepEqual(await client.speaks(long.id), long.reply, 'a connection goes on without the agent');
      await agent.restart();
      t.is(agent.changedAtStart, 0, 'the restart changes nothing in the kernel');
    }
    t.is(await agents[0]?.kill('SIGTERM'), 0, 'a stopped agent exits 0');
    await pause(200);
    const loads = [await client.endsLoad(), await shopper.inhabitant.endsLoad()];
    for (const load of loads) {
      t.is(load.failed, 0, load.errors.join());
      t.true(load.ok > 50, `${load.ok} requests`);
    }
    t.deepEqual(await client.speaks(long.id), long.reply, 'the same backend answers still');
  });

  test(`backends that come and go under load cost no connection: ${forwarding}`, async (t) => {
    await using shop = await Shop.open({ annotations: { 'weir.io/forwarding': forwarding } });
    const { client, web1, web2, shopper } = shop;
    await client.startsLoad(FRONTENDS.v4.external, 80);
    await shopper.inhabitant.startsLoad(FRONTENDS.v4.clusterIp, 80, 2);
    for (const pods of [[web1], [web1, web2, shopper], [web2, shopper], [shopper], [web1, web2]]) {
      shop.serves(pods);
      await shop.settled();
      await pause(100);
    }
    for (const load of [await client.endsLoad(), await shopper.inhabitant.endsLoad()]) {
      t.is(
        load.failed,
        0,
        `${load.errors.join()}; ${JSON.stringify([shop.a, shop.b].map((node) => node.weir('drops')))}`,
      );
      t.true(load.ok > 50, `${load.ok} requests`);
    }
  });
}

test('a removed backend keeps the connections it has and gets no new ones', async (t) => {
  await using shop = await Shop.open({ annotations: { 'weir.io/scheduler': 'rr' } });
  const { client, web1, web2 } = shop;
  const held = [];
  for (let i = 0; i < 4; i++) held.push(await client.holds(FRONTENDS.v4.external, 80));
  shop.serves([web1]);
  await shop.settled();
  for (const { id, reply } of held) t.deepEqual(await client.speaks(id), reply);
  t.true(held.some(({ reply }) => reply.who === web2.name));
  for (let i = 0; i < 4; i++) t.is((await client.gets(FRONTENDS.v4.external, 80)).who, web1.name);
});

test('UDP flows of a removed backend move to another at once', async (t) => {
  await using shop = await Shop.open({ annotations: { 'weir.io/scheduler': 'rr' } });
  const { client, web1, web2 } = shop;
  for (const family of FAMILIES) {
    const { external } = FRONTENDS[family];
    shop.serves([web2]);
    await shop.settled();
    t.is((await client.asks(external, 53, { localPort: 5353 })).who, web2.name);
    shop.serves([web1]);
    await shop.settled();
    await pause(100);
    t.is((await client.asks(external, 53, { localPort: 5353 })).who, web1.name);
  }
});

test('a pod that appears later is served from its first packet', async (t) => {
  for (const shape of ['routed', 'bridge'] as const) {
    await using shop = await Shop.open({ shape });
    const { world, client, a } = shop;
    const late = await world.pod(a, 'late');
    await late.inhabitant.serve(8080);
    if (DATAPLANE === 'bpf') await shop.agents[0]?.says(/attached device=vethlate/);
    shop.serves([late]);
    await shop.settled();
    t.is((await client.gets(FRONTENDS.v4.external, 80)).who, 'late');
    t.is((await late.inhabitant.gets(FRONTENDS.v6.clusterIp, 80)).who, 'late', 'it reaches itself through its service');
  }
});

test('a broken manifest is named and what it said before stays in force, over a restart too', async (t) => {
  await using shop = await Shop.open();
  const { world, client, agents } = shop;
  world.writeText('web.json', '{ "kind": "List", "items": [ {');
  await agents[0]?.says(/web\.json/);
  t.truthy(await client.gets(FRONTENDS.v4.external, 80));
  for (const agent of agents) {
    await agent.kill();
    await agent.restart();
    t.regex(agent.log, /kept services=shop\/web/);
  }
  t.truthy(await client.gets(FRONTENDS.v4.external, 80));
});
