/** Policies between real sockets: what is allowed, what is cut, what the denied are told, and what outlives the agent. */
import test from 'ava';
import { FRONTENDS, Shop } from './shop.js';
import type { Pod } from './world.js';

const pod = ({ name, node, v4, v6 }: Pod, app: string): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'shop', labels: { app } },
  spec: { nodeName: node.name, containers: [{ name: 'main', ports: [{ containerPort: 8080 }] }] },
  status: { phase: 'Running', podIP: v4, podIPs: [{ ip: v4 }, { ip: v6 }] },
});

function policy(from: string, port: number, action = 'drop'): object {
  const ingress = [{ from: [{ podSelector: { matchLabels: { app: from } } }], ports: [{ port }] }];
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'web', namespace: 'shop', annotations: { 'weir.io/deny-action': action } },
    spec: { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'], ingress },
  };
}

interface Drop {
  readonly reason: string;
  readonly pod: string;
  readonly policies: readonly string[];
}

for (const shape of ['routed', 'bridge'] as const) {
  test(`a policy lets in whom it names, cuts the others, and holds without the agent (${shape})`, async (t) => {
    await using shop = await Shop.open({ shape });
    const { world, a, b, web1, web2, shopper, client, agents } = shop;
    world.write('pods.json', [pod(web1, 'web'), pod(web2, 'other'), pod(shopper, 'shopper')]);
    const held = await web2.inhabitant.holds(web1.v4, 8080);
    world.write('policy.json', [policy('shopper', 8080)]);
    for (const node of [a, b]) await node.agrees();

    for (const address of [web1.v4, web1.v6]) t.is((await shopper.inhabitant.gets(address, 8080)).who, 'web-1');
    const others = [
      web2.inhabitant.gets(web1.v4, 8080, { timeout: 700 }),
      client.gets(web1.v4, 8080, { timeout: 700 }),
    ];
    for (const other of others) t.regex(await web2.inhabitant.fails(other), /timeout/);
    t.regex(await web2.inhabitant.fails(web2.inhabitant.speaks(held.id)), /./, 'a live connection is cut');
    shop.serves([web1]);
    await shop.settled();
    t.is((await shopper.inhabitant.gets(FRONTENDS.v4.clusterIp, 80)).who, 'web-1');
    t.is((await web1.inhabitant.gets(FRONTENDS.v4.clusterIp, 80)).who, 'web-1', 'its own service');
    const [drop] = a.weir<Drop[]>('drops').filter(({ reason }) => reason === 'policy-ingress');
    t.like(drop, { pod: 'shop/web-1', policies: ['shop/web'] });

    await agents[0]?.kill();
    t.is((await shopper.inhabitant.gets(web1.v4, 8080)).who, 'web-1');
    t.regex(await web2.inhabitant.fails(web2.inhabitant.gets(web1.v4, 8080, { timeout: 700 })), /timeout/);
    await agents[0]?.restart();
    t.regex(await web2.inhabitant.fails(web2.inhabitant.gets(web1.v4, 8080, { timeout: 700 })), /timeout/);

    world.write('policy.json', [policy('shopper', 8080, 'reject')]);
    await a.agrees();
    t.regex(await web2.inhabitant.fails(web2.inhabitant.gets(web1.v4, 8080, { timeout: 3000 })), /refused/i);
    world.remove('policy.json');
    await a.agrees();
    t.is((await web2.inhabitant.gets(web1.v4, 8080)).who, 'web-1');
  });
}
