/** Processes of a node, below a cgroup of their own, that speak to services. */
import test from 'ava';
import { Group } from '../helpers/group.js';
import type { Reply } from './inhabitant.js';
import { DATAPLANE, FAMILIES, FRONTENDS, Shop, type ShopOptions } from './shop.js';
import { type Inhabitant, Pod } from './world.js';

/** IPVS serves no node ports there. */
const LOOPBACK = { v4: '127.0.0.1', v6: '::1' } as const;

/** A shop whose agents serve the processes of a group, and a process of node-a in it. */
async function open(group: Group, options: ShopOptions = {}): Promise<{ shop: Shop; host: Inhabitant }> {
  const shop = await Shop.open({ ...options, flags: ['--cgroup', group.path] });
  const host = await shop.world.inhabit('host-a', shop.a.space);
  group.add(host);
  return { shop, host };
}

/** Who answered, or why nobody did. */
function answerer(reply: Promise<Reply>): Promise<string> {
  return reply.then(
    ({ who }) => who,
    (error: Error) => error.message,
  );
}

const ADDRESSES: { name: string; host: string; tcp: number; udp: number }[] = FAMILIES.flatMap((family) => {
  const { clusterIp, external, node } = FRONTENDS[family];
  return [
    { name: `ClusterIP, ${family}`, host: clusterIp, tcp: 80, udp: 53 },
    { name: `external address, ${family}`, host: external, tcp: 80, udp: 53 },
    { name: `node port on the node's address, ${family}`, host: node, tcp: 30080, udp: 30053 },
    ...(DATAPLANE === 'bpf'
      ? [{ name: `node port on loopback, ${family}`, host: LOOPBACK[family], tcp: 30080, udp: 30053 }]
      : []),
  ];
});
ADDRESSES.push({ name: 'ClusterIP, v4 by a v6 socket', host: '::ffff:10.96.0.10', tcp: 80, udp: 53 });
if (DATAPLANE === 'bpf')
  ADDRESSES.push({ name: 'loopback, v4 by a v6 socket', host: '::ffff:127.0.0.1', tcp: 30080, udp: 30053 });

test('a process of the host reaches every kind of frontend, and takes it for its peer', async (t) => {
  await using group = new Group();
  const { shop, host } = await open(group, { annotations: { 'weir.io/scheduler': 'rr' } });
  await using _ = shop;
  const all = [shop.web1.name, shop.web2.name];
  for (const { name, host: address, tcp, udp } of ADDRESSES) {
    const replies = [await host.gets(address, tcp), await host.gets(address, tcp)];
    t.deepEqual(replies.map(({ who }) => who).sort(), all, `${name}: TCP reaches every backend`);
    t.deepEqual([...new Set(replies.map(({ peer }) => peer))], [`${address} ${tcp}`], `${name}: TCP`);
    for (const connected of [true, false]) {
      const how = `${name}: UDP, ${connected ? 'connected' : 'not connected'}`;
      const ids = [await host.talks(address, udp, connected), await host.talks(address, udp, connected)];
      const answers = [];
      for (const id of ids) answers.push(await host.says(id));
      t.deepEqual(answers.map(({ who }) => who).sort(), all, `${how}: reaches every backend`);
      t.deepEqual([...new Set(answers.map(({ from }) => from))], [`${address} ${udp}`], how);
      if (connected) t.deepEqual([...new Set(answers.map(({ peer }) => peer))], [`${address} ${udp}`], how);
      /* the next turn would be the other backend's */
      const again = await host.says(ids.at(-1) ?? 0);
      t.is(again.who, answers.at(-1)?.who ?? '', `${how}: a socket keeps its backend`);
    }
  }
});

test('only the node’s own network namespace is served: neither others in the group nor those outside of it', async (t) => {
  await using group = new Group();
  const { shop, host } = await open(group);
  await using _ = shop;
  const { clusterIp } = FRONTENDS.v4;
  const stranger = await shop.world.inhabit('stranger', shop.a.space);
  group.add(shop.client);
  t.truthy(await host.gets(clusterIp, 80));
  t.not(await host.fails(shop.client.gets(clusterIp, 80, { timeout: 500 })), '', 'another namespace, in the group');
  t.not(await host.fails(stranger.gets(clusterIp, 80, { timeout: 500 })), '', 'the same namespace, not in the group');
});

test('a process of the host is refused at once where nobody serves', async (t) => {
  await using group = new Group();
  const { shop, host } = await open(group);
  await using _ = shop;
  shop.serves([]);
  await shop.settled();
  for (const { name, host: address, tcp, udp } of ADDRESSES) {
    t.regex(await host.fails(host.gets(address, tcp)), /connect ECONNREFUSED/, `${name}: TCP`);
    t.regex(await host.fails(host.talks(address, udp, true)), /connect ECONNREFUSED/, `${name}: UDP, connected`);
    const id = await host.talks(address, udp, false);
    t.regex(await host.fails(host.says(id)), /send ECONNREFUSED/, `${name}: UDP, not connected`);
  }
  shop.serves([shop.web2], { internalTrafficPolicy: 'Local' });
  await shop.settled();
  t.regex(await host.fails(host.gets(FRONTENDS.v4.clusterIp, 80)), /EHOSTUNREACH/, 'endpoints, but none it may use');
  const drops = shop.a.weir<{ reason: string; hook: string }[]>('drops').filter(({ hook }) => hook === 'socket');
  t.deepEqual([...new Set(drops.map(({ reason }) => reason))].sort(), ['no-endpoint', 'no-local-endpoint']);
});

test('what the host reaches survives the agent, a restart takes it over and cleanup ends it', async (t) => {
  await using group = new Group();
  const { shop, host } = await open(group);
  await using _ = shop;
  const { clusterIp } = FRONTENDS.v6;
  const agent = shop.agents[0];
  const { id } = await host.holds(clusterIp, 80);
  await agent?.kill();
  t.truthy(await host.gets(clusterIp, 80), 'without an agent');
  await agent?.restart();
  t.is(agent?.changedAtStart, 0);
  t.truthy(await host.gets(clusterIp, 80), 'with the next one');
  await agent?.kill();
  t.is(shop.a.status('cleanup'), 0);
  t.not(await host.fails(host.gets(clusterIp, 80, { timeout: 500 })), '', 'after cleanup');
  t.truthy(await host.speaks(id), 'what is connected stays connected');
});

test('programs that somebody takes from the cgroup are put back, and the agent says so', async (t) => {
  await using group = new Group();
  const { shop, host } = await open(group);
  await using _ = shop;
  const { a, agents } = shop;
  a.run('rm', `${a.bpfRoot}/weir_cgroup_connect4`);
  await agents[0]?.says(/the programs are gone from the cgroup/);
  t.truthy(await host.gets(FRONTENDS.v4.clusterIp, 80));
});

test('an agent without --cgroup leaves the processes of the host alone, also those that another one served', async (t) => {
  await using group = new Group();
  const { shop, host } = await open(group);
  await using _ = shop;
  const { clusterIp } = FRONTENDS.v4;
  await shop.agents[0]?.kill('SIGTERM');
  await shop.world.agent(shop.a);
  t.not(await host.fails(host.gets(clusterIp, 80, { timeout: 500 })), '');
});

test('a connected UDP socket whose backend is removed is ended, other sockets are not', async (t) => {
  await using group = new Group();
  const { shop, host } = await open(group);
  await using _ = shop;
  const { a, agents, web1, web2 } = shop;
  for (const family of FAMILIES) {
    const { clusterIp } = FRONTENDS[family];
    shop.serves([web1]);
    await shop.settled();
    const doomed = [await host.talks(clusterIp, 53, true)];
    if (family === 'v4') doomed.push(await host.talks(`::ffff:${clusterIp}`, 53, true));
    const kept = {
      direct: await host.talks(web1.ip(family), 8081, true),
      loose: await host.talks(clusterIp, 53, false),
    };
    for (const id of [...doomed, ...Object.values(kept)]) t.is((await host.says(id)).who, web1.name);
    const { id } = await host.holds(clusterIp, 80);
    shop.serves([web2]);
    await agents[0]?.says(new RegExp(`ended sockets=${doomed.length}: `));
    await a.agrees();
    for (const socket of doomed) t.regex(await host.fails(host.says(socket)), /ECONNABORTED/, family);
    t.is((await host.says(kept.direct)).who, web1.name, `${family}: a socket that never named the service goes on`);
    t.is((await host.says(kept.loose)).who, web2.name, `${family}: one that is not connected moves`);
    t.is((await host.speaks(id)).who, web1.name, `${family}: TCP goes on`);
    t.is((await host.says(await host.talks(clusterIp, 53, true))).who, web2.name, `${family}: who connects anew moves`);
  }
});

test('a backend on the host network answers clients out there, pods and processes of its own host', async (t) => {
  await using group = new Group();
  const { shop, host } = await open(group);
  await using _ = shop;
  const { a, b, client, shopper, world } = shop;
  const [webA, webB] = [await world.inhabit('web-a', a.space), await world.inhabit('web-b', b.space)];
  const backends = [new Pod(webA, a, a.v4, a.v6, 'eth0'), new Pod(webB, b, b.v4, b.v6, 'eth0')];
  for (const backend of backends) {
    await backend.inhabitant.serve(8080);
    /* at its own addresses: one that listens at all of them answers with whichever is on the way to its client */
    for (const family of FAMILIES) await backend.inhabitant.serve(8081, 'udp', backend.ip(family));
  }
  for (const forwarding of ['nat', 'dsr']) {
    for (const backend of backends) {
      shop.serves([backend], { annotations: { 'weir.io/forwarding': forwarding } });
      await shop.settled();
      for (const family of FAMILIES) {
        const { external, clusterIp, node } = FRONTENDS[family];
        for (const [who, address, tcp, udp] of [
          [client, external, 80, 53],
          [client, node, 30080, 30053],
          [shopper.inhabitant, clusterIp, 80, 53],
          [host, clusterIp, 80, 53],
          [host, DATAPLANE === 'bpf' ? LOOPBACK[family] : node, 30080, 30053],
        ] as const) {
          const label = `${forwarding}: ${who.name} by ${address} to ${backend.name}`;
          t.is(await answerer(who.gets(address, tcp)), backend.name, `${label}: TCP`);
          t.is(await answerer(who.asks(address, udp)), backend.name, `${label}: UDP`);
        }
      }
    }
  }
});
