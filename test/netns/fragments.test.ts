import test from 'ava';
import { DATAPLANE, FAMILIES, FORWARDINGS, FRONTENDS, Shop } from './shop.js';
import type { Inhabitant } from './world.js';

const BYTES = 4000;
const ALL_WAYS = [
  { name: 'past the stack', flags: [], dropInvalid: false },
  { name: 'through the stack', flags: ['--fast-path=false'], dropInvalid: true },
] as const;
/** IPVS knows no way but through the stack. */
const WAYS = DATAPLANE === 'bpf' ? ALL_WAYS : ALL_WAYS.slice(0, 1);

/** IPVS puts a datagram together before it is wrapped: as such it leaves the tunnel, and no router may take IPv6 apart. */
function isWhole(forwarding: string, family: string): boolean {
  return DATAPLANE === 'ipvs' && forwarding === 'dsr' && family === 'v6';
}

/** The first datagram may be answered with the size that fits; a sender that listens is understood the next time. */
async function asksUntilHeard(who: Inhabitant, host: string): Promise<string> {
  for (let i = 0; i < 4; i++) {
    const reply = await who.asks(host, 53, { bytes: BYTES, timeout: 500 }).catch(() => undefined);
    if (reply) return reply.who;
  }
  return 'nobody';
}

for (const { name, ...options } of WAYS) {
  for (const forwarding of FORWARDINGS) {
    test(`datagrams of ${BYTES} bytes go both ways over links of MTU 1500: ${forwarding}, ${name}`, async (t) => {
      await using shop = await Shop.open({ ...options, annotations: { 'weir.io/forwarding': forwarding } });
      for (const pod of [shop.web1, shop.web2]) {
        shop.serves([pod]);
        await shop.settled();
        for (const family of FAMILIES) {
          const { external, clusterIp } = FRONTENDS[family];
          if (!isWhole(forwarding, family) || pod.node === shop.a)
            t.is(await asksUntilHeard(shop.client, external), pod.name, `the client to ${external}`);
          t.is(await asksUntilHeard(shop.shopper.inhabitant, clusterIp), pod.name, `the shopper to ${clusterIp}`);
        }
      }
    });
  }
}
