import { join } from 'node:path';
import { mkdirSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { service } from './manifests.js';
import { DATAPLANE, FAMILIES, FRONTENDS } from './shop.js';
import { batch, type Node, World } from './world.js';

const VIPS = FAMILIES.map((family) => FRONTENDS[family].external);
const MODE = `--dataplane=${DATAPLANE}`;
const itself = (node: Node) => ({ name: node.name, ip: (family: 'v4' | 'v6') => node[family], node });

/**
 * A director in front of a plain server, which has the address on lo, and of a node that serves the address as an external IP
 * with its own agent and its own pods.
 */
test('a director spreads clients over plain servers and nodes, which answer them directly', async (t) => {
  await using world = await World.create();
  const [director, b, server] = [world.node('director', 1), world.node('node-b', 2), world.node('server', 3)];
  const web2 = await world.pod(b, 'web-2');
  await web2.inhabitant.serve(8080);
  batch(
    server.space,
    FAMILIES.map((family) => `addr add ${FRONTENDS[family].external} dev lo`),
  );
  const plain = await world.inhabit('plain', server.space);
  await plain.serve(80);
  for (const vip of VIPS) world.routeAddress(vip, director);

  const web = { name: 'web', externalIPs: VIPS };
  world.write('web.json', service({ ...web, targetPort: 80, pods: [itself(b), itself(server)] }));
  const inner = join(world.directory, 'of-node-b');
  mkdirSync(inner);
  const objects = { apiVersion: 'v1', kind: 'List', items: service({ ...web, pods: [web2] }) };
  writeFileSync(join(inner, 'web.json'), JSON.stringify(objects));
  await world.agent(b, MODE, '--manifests', inner);
  const agent = await world.agent(director, MODE, '--forwarding', 'dsr-l2', '--scheduler', 'rr');
  t.notRegex(agent.log, /dsr-l2 needs/, 'both are on the link');

  for (const family of FAMILIES) {
    const { external, client } = FRONTENDS[family];
    const replies = [];
    for (let i = 0; i < 4; i++) replies.push(await world.client.gets(external, 80));
    t.deepEqual(replies.map(({ who }) => who).sort(), ['plain', 'plain', 'web-2', 'web-2']);
    t.true(replies.every((reply) => reply.client === client));
    for (let i = 0; i < 2; i++) {
      const up = await world.client.uploads(external, 80, 1_000_000);
      t.is(up.received, up.sent, `uploads to ${external}`);
      const down = await world.client.downloads(external, 80, 1_000_000);
      t.is(down.received, down.sent, `downloads from ${external}`);
    }
  }
  const flows = director.weir<{ forwarding: string }[]>('flow', 'list');
  t.deepEqual([...new Set(flows.map(({ forwarding }) => forwarding))], ['dsr-l2']);
});

test('an endpoint that is on no link of the director is named', async (t) => {
  await using world = await World.create();
  const [director, b] = [world.node('director', 1), world.node('node-b', 2)];
  const web2 = await world.pod(b, 'web-2');
  world.write('web.json', service({ name: 'web', targetPort: 80, externalIPs: VIPS, pods: [web2] }));
  const agent = await world.agent(director, MODE, '--forwarding', 'dsr-l2');
  t.regex(agent.log, new RegExp(`Service shop/web:main: endpoints: ${web2.v4}:80.* as dsr-l2 needs`));
  world.routeAddress(FRONTENDS.v4.external, director);
  t.regex(await world.client.fails(world.client.gets(FRONTENDS.v4.external, 80, { timeout: 500 })), /timeout/);
  /* IPVS is not told of it at all */
  const reason = DATAPLANE === 'bpf' ? 'no-route' : 'no-local-endpoint';
  t.true(director.weir<{ reason: string }[]>('drops').some((drop) => drop.reason === reason));
});
