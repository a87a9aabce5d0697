import test from 'ava';
import type { Holder } from '../../src/cli/drain.js';
import type { BackendListRow } from '../../src/cli/backend.js';
import { FORWARDINGS, FRONTENDS, Shop } from './shop.js';
import { type Inhabitant, type Node, PATIENCE, type Pod, until } from './world.js';

/** Waits until the node has let go of the pod altogether. */
async function forgets(node: Node, pod: Pod): Promise<void> {
  const known = (): boolean =>
    node.weir<BackendListRow[]>('backend', 'list').some(({ address }) => address === pod.v4 || address === pod.v6);
  await until(
    () => !known(),
    10_000,
    () => `${node.name} still has ${pod.name}`,
  );
}

/** How a connection ends that is used until it does: the walk that forgets its flow comes within a second. */
async function endOf(who: Inhabitant, id: number): Promise<string> {
  let failure = '';
  const ended = async (): Promise<boolean> => (failure = await who.fails(who.speaks(id))) !== '';
  await until(ended, 5_000, () => 'the connection goes on');
  return failure;
}

const KINDS = [
  { name: 'maglev', annotations: { 'weir.io/scheduler': 'maglev' } },
  { name: 'rr', annotations: { 'weir.io/scheduler': 'rr' } },
  { name: 'lc', annotations: { 'weir.io/scheduler': 'lc' } },
  { name: 'session affinity', annotations: {}, affinity: 600 },
] as const;

for (const forwarding of FORWARDINGS) {
  test(`connections of a removed pod go on for their grace and are then reset, never left hanging: ${forwarding}`, async (t) => {
    const annotations = { 'weir.io/forwarding': forwarding };
    await using shop = await Shop.open({ annotations, flags: ['--drain-timeout', `${6 * PATIENCE}s`] });
    const { client, web1, web2 } = shop;
    for (const { name, ...kind } of KINDS) {
      const more = { ...kind, annotations: { ...annotations, ...kind.annotations } };
      shop.serves([web1, web2], more);
      await shop.settled();
      const held = await client.holds(FRONTENDS.v4.external, 80);
      const [gone, stays] = held.reply.who === web1.name ? [web1, web2] : [web2, web1];
      shop.serves([stays], more);
      await shop.settled();
      t.is((await client.speaks(held.id)).who, gone.name, `${name}: it goes on`);
      t.is((await client.gets(FRONTENDS.v4.external, 80)).who, stays.name, `${name}: nothing new`);
      for (const node of [shop.a, shop.b]) await forgets(node, gone);
      t.regex(await endOf(client, held.id), /ECONNRESET/, `${name}: it is reset`);
    }
  });

  for (const policy of ['Local', 'Cluster'] as const) {
    test(`a connection is reset whose last pod has gone, by policy ${policy}: ${forwarding}`, async (t) => {
      const annotations = { 'weir.io/forwarding': forwarding };
      await using shop = await Shop.open({ annotations, flags: ['--drain-timeout', `${PATIENCE}s`] });
      const { client, web1, web2 } = shop;
      const [only, after] = policy === 'Local' ? [web1, [web2]] : [web2, []];
      shop.serves(policy === 'Local' ? [web1, web2] : [web2], { externalTrafficPolicy: policy });
      await shop.settled();
      const held = await client.holds(FRONTENDS.v6.external, 80);
      t.is(held.reply.who, only.name);
      shop.serves(after, { externalTrafficPolicy: policy });
      await shop.settled();
      for (const node of [shop.a, only.node]) await forgets(node, only);
      t.regex(await endOf(client, held.id), /ECONNRESET/);
    });
  }
}

test('backend drain waits for the flows of the pods that end, and names who still holds one', async (t) => {
  await using shop = await Shop.open({ annotations: { 'weir.io/scheduler': 'lc' } });
  const { client, a, web1, web2 } = shop;
  const held = [await client.holds(FRONTENDS.v4.external, 80), await client.holds(FRONTENDS.v4.external, 80)];
  const [mine] = held.filter(({ reply }) => reply.who === web2.name);
  t.truthy(mine, 'lc gives one to each');
  t.is(a.status('backend', 'drain', 'shop/web'), 0, 'none of them ends');
  t.is(a.status('backend', 'drain', 'shop/web', web2.v4, '--wait', '0s'), 1);
  shop.serves([web1, { pod: web2, terminating: true }]);
  await shop.settled();
  const { status, answer } = a.asks<Holder[]>('backend', 'drain', 'shop/web', '--wait', '0s');
  t.is(status, 1);
  const [holder, ...others] = answer;
  t.deepEqual(others, []);
  t.like(holder, { address: web2.v4, port: 8080, portName: 'main', state: 'terminating', flows: 1 });
  t.regex(holder?.clients.join() ?? '', /^10\.9\.0\.10:\d+$/);
  await client.releases(mine?.id ?? 0);
  t.is(a.status('backend', 'drain', 'shop/web', '--wait', '30s'), 0);
});

test('a weight of 0 takes a pod out of service without cutting anything off, by its name', async (t) => {
  await using shop = await Shop.open({ annotations: { 'weir.io/scheduler': 'rr' } });
  const { client, web1, web2 } = shop;
  const held = [await client.holds(FRONTENDS.v4.external, 80), await client.holds(FRONTENDS.v4.external, 80)];
  shop.serves([web1, web2], { annotations: { 'weir.io/scheduler': 'rr', 'weir.io/weights': `${web2.name}=0` } });
  await shop.settled();
  for (let i = 0; i < 4; i++) t.is((await client.gets(FRONTENDS.v4.external, 80)).who, web1.name);
  t.is((await client.asks(FRONTENDS.v4.external, 53)).who, web1.name);
  for (const { id, reply } of held) t.is((await client.speaks(id)).who, reply.who);
});

test('a client keeps its pod with session affinity from outside and inside, and switching it off spreads it again', async (t) => {
  const annotations = { 'weir.io/scheduler': 'rr' };
  await using shop = await Shop.open({ annotations });
  const { client, shopper, web1, web2 } = shop;
  const asks = [
    () => client.gets(FRONTENDS.v4.external, 80),
    () => client.gets(FRONTENDS.v6.external, 80),
    () => shopper.inhabitant.gets(FRONTENDS.v4.clusterIp, 80),
    () => client.gets(FRONTENDS.v4.node, 30080),
  ];
  shop.serves([web1, web2], { affinity: 600 });
  await shop.settled();
  for (const ask of asks) {
    const first = (await ask()).who;
    for (let i = 0; i < 4; i++) t.is((await ask()).who, first);
  }
  shop.serves([web1, web2]);
  await shop.settled();
  for (const ask of asks) t.not((await ask()).who, (await ask()).who);
});
