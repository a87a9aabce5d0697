/**
 * Runs in a guest whose kernel has IPVS: connections and datagrams that go through tunnels to another node go on while both nodes
 * change from BPF to IPVS and back. Exits other than 0 with what was not so.
 */
import { FRONTENDS, Shop } from '../netns/shop.js';
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
using first = await Conversations.begin('begun with BPF', visits, 5001);
await change('ipvs');
await first.goOn();
using second = await Conversations.begin('begun with IPVS', visits, 5021);
await change('bpf');
await first.goOn();
await second.goOn();
using third = await Conversations.begin('begun with BPF again', visits, 5041);
await third.goOn();

/** One node after the other; between them each kind of tunnel meets a node that speaks the other. */
async function change(dataplane: string): Promise<void> {
  for (const node of [a, b])
    await world.agent(node, `--dataplane=${dataplane}`, '--drain-timeout=600s', '--takeover-grace=1s');
}
