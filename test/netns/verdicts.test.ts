/** The table of verdicts, held against a whole node with real sockets. */
import test from 'ava';
import { describeVerdict, VERDICTS, type VerdictRow } from '../helpers/verdicts.js';
import { FAMILIES, FRONTENDS, Shop } from './shop.js';

const BALANCED = { v4: '192.0.2.90', v6: '2001:db8::90' } as const;
/** ms after which nothing comes back any more. */
const SILENCE = 700;

interface Seen {
  readonly verdict: string;
  readonly masqueraded: boolean;
}

async function seen(shop: Shop, { to, from }: VerdictRow, family: 'v4' | 'v6'): Promise<Seen> {
  const at = FRONTENDS[family];
  const host = { ClusterIP: at.clusterIp, NodePort: at.node, ExternalIP: at.external, LoadBalancer: BALANCED[family] }[
    to
  ];
  const { who, address } = {
    outside: { who: shop.client, address: at.client },
    pod: { who: shop.shopper.inhabitant, address: shop.shopper.ip(family) },
    endpoint: { who: shop.web1.inhabitant, address: shop.web1.ip(family) },
  }[from];
  try {
    const reply = await who.gets(host, to === 'NodePort' ? 30080 : 80, { timeout: SILENCE });
    return { verdict: 'served', masqueraded: reply.client !== address };
  } catch (error) {
    const { message } = error as Error;
    const verdict = /ECONNREFUSED/.test(message) ? 'refused' : /timeout/.test(message) ? 'dropped' : message;
    return { verdict, masqueraded: false };
  }
}

for (const all of [false, true]) {
  test(`every row of the table holds on a node${all ? ' with --masquerade-all' : ''}`, async (t) => {
    await using shop = await Shop.open({ flags: all ? ['--masquerade-all'] : [], dropInvalid: true });
    for (const family of FAMILIES) {
      shop.world.routeAddress(BALANCED[family], shop.a);
      shop.world.routeAddress(FRONTENDS[family].clusterIp, shop.a);
    }
    for (const policy of ['Cluster', 'Local'] as const) {
      for (const endpoint of ['here', 'there', 'nowhere'] as const) {
        const pods = { here: [shop.web1], there: [shop.web2], nowhere: [] }[endpoint];
        const policies = { externalTrafficPolicy: policy, internalTrafficPolicy: policy };
        shop.serves(pods, { ...policies, loadBalancerIPs: Object.values(BALANCED) });
        await shop.settled();
        const rows = VERDICTS.filter((row) => row.policy === policy && row.endpoint === endpoint);
        for (const family of FAMILIES) {
          const found = await Promise.all(rows.map((row) => seen(shop, row, family)));
          rows.forEach((row, i) => {
            const masqueraded = all ? row.masqueradedByAll : row.masqueraded;
            t.deepEqual(found[i], { verdict: row.verdict, masqueraded }, `${describeVerdict(row)} (${family})`);
          });
        }
      }
    }
  });
}
