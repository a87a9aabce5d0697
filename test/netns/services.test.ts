import test from 'ava';
import { service } from './manifests.js';
import { type Agent, type Node, type Pod, type PodShape, World } from './world.js';

/** Two nodes with an agent each and a pod of the service on each, and a pod that is a client. */
interface Shop {
  readonly world: World;
  readonly a: Node;
  readonly b: Node;
  readonly web1: Pod;
  readonly web2: Pod;
  readonly shopper: Pod;
  readonly agents: readonly Agent[];
}

interface Variant {
  readonly name: string;
  readonly shape: PodShape;
  readonly rpFilter: 0 | 1 | 2;
  readonly dropInvalid: boolean;
}

async function openShop(world: World, annotations: Readonly<Record<string, string>>): Promise<Shop> {
  const [a, b] = [await world.node('node-a', 1), await world.node('node-b', 2)];
  const [web1, web2, shopper] = [await world.pod(a, 'web-1'), await world.pod(b, 'web-2'), await world.pod(a, 'shopper')];
  for (const pod of [web1, web2, shopper]) {
    await pod.inhabitant.serve(8080);
    await pod.inhabitant.serve(8081, 'udp');
  }
  world.routeAddress('192.0.2.80', a);
  world.routeAddress('2001:db8::80', a);
  const frontends = { clusterIPs: ['10.96.0.10', 'fd00:96::10'], externalIPs: ['192.0.2.80', '2001:db8::80'], annotations };
  const pods = [web1, web2, shopper];
  world.write('nodes.json', [a.manifest(), b.manifest()]);
  world.write('web.json', service({ name: 'web', nodePort: 30080, ...frontends, pods }));
  world.write('dns.json', service({ name: 'dns', port: 53, targetPort: 8081, protocol: 'UDP', nodePort: 30053, ...frontends, pods }));
  return { world, a, b, web1, web2, shopper, agents: [await world.agent(a), await world.agent(b)] };
}

const VARIANTS: readonly Variant[] = [
  { name: 'routed pods, strict rp_filter', shape: 'routed', rpFilter: 1, dropInvalid: false },
  { name: 'routed pods, loose rp_filter, invalid dropped', shape: 'routed', rpFilter: 2, dropInvalid: true },
  { name: 'bridged pods, no rp_filter', shape: 'bridge', rpFilter: 0, dropInvalid: false },
  { name: 'bridged pods, strict rp_filter, invalid dropped', shape: 'bridge', rpFilter: 1, dropInvalid: true },
];

const FRONTENDS = {
  v4: { clusterIp: '10.96.0.10', external: '192.0.2.80', node: '10.0.0.1', client: '10.9.0.10' },
  v6: { clusterIp: 'fd00:96::10', external: '2001:db8::80', node: 'fd00::1', client: 'fd00:9::10' },
} as const;

for (const forwarding of ['nat', 'dsr'] as const) {
  for (const { name, ...options } of VARIANTS) {
    test(`every frontend answers with every backend: ${forwarding}, ${name}`, async (t) => {
      await using world = await World.create(options);
      const shop = await openShop(world, { 'weir.io/scheduler': 'rr', 'weir.io/forwarding': forwarding });
      const all = [shop.web1.name, shop.web2.name, shop.shopper.name].sort();
      for (const family of ['v4', 'v6'] as const) {
        const at = FRONTENDS[family];
        const from = [
          { who: world.client, host: at.external, port: 80, udp: 53 },
          { who: world.client, host: at.node, port: 30080, udp: 30053 },
          { who: shop.shopper.inhabitant, host: at.clusterIp, port: 80, udp: 53 },
          { who: shop.shopper.inhabitant, host: at.external, port: 80, udp: 53 },
          { who: shop.shopper.inhabitant, host: at.node, port: 30080, udp: 30053 },
        ];
        for (const { who, host, port, udp } of from) {
          const tcp = [];
          const dns = [];
          for (let i = 0; i < 3; i++) tcp.push(await who.gets(host, port));
          for (let i = 0; i < 3; i++) dns.push(await who.asks(host, udp));
          t.deepEqual(tcp.map((reply) => reply.who).sort(), all, `${who.name} to ${host}:${port}`);
          t.deepEqual(dns.map((reply) => reply.who).sort(), all, `${who.name} to ${host}:${udp}`);
          if (who === world.client && forwarding === 'dsr') {
            t.true([...tcp, ...dns].every((reply) => reply.client === at.client), 'the client address survives');
          }
        }
      }
    });
  }
}
