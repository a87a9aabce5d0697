/**
 * Runs in a guest whose kernel has VLAN devices: nodes whose uplink is a VLAN of a trunk serve their clients. Exits other than 0
 * with what was not so.
 */
import assert from 'node:assert/strict';
import { FAMILIES, FORWARDINGS, FRONTENDS, Shop } from '../netns/shop.js';
import { run } from '../netns/world.js';

run('modprobe', '8021q');
for (const forwarding of FORWARDINGS) {
  await using shop = await Shop.open({ vlan: 100, annotations: { 'weir.io/forwarding': forwarding } });
  assert.match(shop.agents[0]?.log ?? '', /attached device=vlan100/);
  const { client, web1, web2, shopper } = shop;
  for (const pod of [web1, web2]) {
    shop.serves([pod]);
    await shop.settled();
    for (const family of FAMILIES) {
      const { external, clusterIp, node } = FRONTENDS[family];
      assert.equal((await client.gets(external, 80)).who, pod.name);
      assert.equal((await client.asks(node, 30053)).who, pod.name);
      assert.equal((await shopper.inhabitant.gets(clusterIp, 80)).who, pod.name);
      const down = await client.downloads(external, 80, 200_000);
      assert.equal(down.received, down.sent);
      process.stdout.write(`${forwarding} ${external} by ${pod.name}\n`);
    }
  }
}
