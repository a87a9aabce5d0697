/**
 * Runs in a guest whose kernel has IPVS: connections and datagrams that go through tunnels to another node go on while both nodes
 * change from BPF to IPVS and back, and while they differ each serves what the other sends. Exits other than 0 with what was not so.
 */
import assert from 'node:assert/strict';
import { FAMILIES, FRONTENDS, Shop } from '../netns/shop.js';
import type { Node } from '../netns/world.js';
import { Conversations } from './conversations.js';

await using shop = await Shop.open({ annotations: { 'weir.io/scheduler': 'rr', 'weir.io/forwarding': 'dsr' } });
const { world, a, b, client } = shop;
const services = { who: client, port: 80, datagrams: 53 };
const visits = [
  { ...services, host: FRONTENDS.v4.external },
  { ...services, host: FRONTENDS.v6.external },
  { who: client, host: FRONTENDS.v4.node, port: 30080, datagrams: 30053 },
  { who: client, host: FRONTENDS.v6.node, port: 30080, datagrams: 30053 },
];
await using first = await Conversations.begin('begun with BPF', visits, 5001);
await change('ipvs');
await first.goOn();
await using second = await Conversations.begin('begun with IPVS', visits, 5021);
await change('bpf');
await first.goOn();
await second.goOn();
await using third = await Conversations.begin('begun with BPF again', visits, 5041);
await third.goOn();

/** One node after the other; between them each kind of tunnel meets a node that speaks the other. */
async function change(dataplane: string): Promise<void> {
  await start(a);
  await everyNodeServes();
  await start(b);

  async function start(node: Node): Promise<void> {
    await world.agent(node, `--dataplane=${dataplane}`, '--drain-timeout=600s', '--takeover-grace=1s');
  }
}

/** At both nodes' addresses the client is served by the pods of both, and known to them by its own address. */
async function everyNodeServes(): Promise<void> {
  const all = [shop.web1.name, shop.web2.name].sort();
  for (const family of FAMILIES) {
    const { external, node, client: address } = FRONTENDS[family];
    for (const host of [external, node, node.replace(/1$/, '2')]) {
      const [tcp, udp] = host === external ? [80, 53] : [30080, 30053];
      for (const ask of [() => client.gets(host, tcp), () => client.asks(host, udp)]) {
        const replies = [];
        for (let i = 0; i < 8; i++) replies.push(await ask());
        assert.deepEqual([...new Set(replies.map(({ who }) => who))].sort(), all, host);
        assert.deepEqual([...new Set(replies.map((reply) => reply.client))], [address], host);
      }
    }
  }
  process.stdout.write('nodes that differ serve each other\n');
}
