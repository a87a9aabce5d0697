import test from 'ava';
import { DATAPLANE, FAMILIES, FORWARDINGS, FRONTENDS, Shop } from './shop.js';
import type { WorldOptions } from './world.js';

interface Variant extends WorldOptions {
  readonly name: string;
  readonly flags?: readonly string[];
}

const BOTH: readonly Variant[] = [
  { name: 'routed pods, strict rp_filter', shape: 'routed', rpFilter: 1 },
  { name: 'routed pods, loose rp_filter, invalid dropped', shape: 'routed', rpFilter: 2, dropInvalid: true },
  { name: 'bridged pods, no rp_filter', shape: 'bridge', rpFilter: 0 },
  { name: 'bridged pods, strict rp_filter, invalid dropped', shape: 'bridge', rpFilter: 1, dropInvalid: true },
];
/** IPVS knows no way but through the stack. */
const BPF: readonly Variant[] = [
  { name: 'through the stack, routed', shape: 'routed', rpFilter: 1, dropInvalid: true, flags: ['--fast-path=false'] },
  { name: 'through the stack, bridged', shape: 'bridge', rpFilter: 2, dropInvalid: true, flags: ['--fast-path=false'] },
];

const VARIANTS = DATAPLANE === 'bpf' ? [...BOTH, ...BPF] : BOTH;

for (const forwarding of FORWARDINGS) {
  for (const { name, ...options } of VARIANTS) {
    test(`every frontend answers with every backend: ${forwarding}, ${name}`, async (t) => {
      const annotations = { 'weir.io/scheduler': 'rr', 'weir.io/forwarding': forwarding };
      await using shop = await Shop.open({ ...options, annotations });
      const { client, web1, web2, shopper } = shop;
      shop.serves([web1, web2, shopper]); // the shopper meets itself as a backend
      await shop.settled();
      const all = [web1.name, web2.name, shopper.name].sort();
      for (const family of FAMILIES) {
        const at = FRONTENDS[family];
        const visits = [
          { who: client, host: at.external, tcp: 80, udp: 53 },
          { who: client, host: at.node, tcp: 30080, udp: 30053 },
          { who: shopper.inhabitant, host: at.clusterIp, tcp: 80, udp: 53 },
          { who: shopper.inhabitant, host: at.external, tcp: 80, udp: 53 },
          { who: shopper.inhabitant, host: at.node, tcp: 30080, udp: 30053 },
        ];
        for (const { who, host, tcp, udp } of visits) {
          const replies = [];
          for (let i = 0; i < 3; i++) replies.push(await who.gets(host, tcp));
          t.deepEqual(replies.map((reply) => reply.who).sort(), all, `${who.name} to ${host} by TCP`);
          const answers = [];
          for (let i = 0; i < 3; i++) answers.push(await who.asks(host, udp));
          t.deepEqual(answers.map((reply) => reply.who).sort(), all, `${who.name} to ${host} by UDP`);
          if (who !== client) continue;
          const seen = [...replies, ...answers].filter(({ who }) => forwarding === 'dsr' || who !== web2.name);
          t.true(
            seen.every((reply) => reply.client === at.client),
            'the client address survives',
          );
        }
      }
    });
  }

  test(`5 MB go both ways through ${forwarding} over links of MTU 1500`, async (t) => {
    await using shop = await Shop.open({ annotations: { 'weir.io/forwarding': forwarding } });
    const { client, web2, shopper } = shop;
    shop.serves([web2]);
    await shop.settled();
    for (const family of FAMILIES) {
      const { external, clusterIp } = FRONTENDS[family];
      for (const [who, host] of [
        [client, external],
        [shopper.inhabitant, clusterIp],
      ] as const) {
        const up = await who.uploads(host, 80, 5_000_000);
        t.is(up.received, up.sent, `${who.name} uploads to ${host}`);
        const down = await who.downloads(host, 80, 5_000_000);
        t.is(down.received, down.sent, `${who.name} downloads from ${host}`);
      }
    }
  });
}

test('a service without endpoints refuses its clients at once', async (t) => {
  await using shop = await Shop.open();
  const { client, shopper } = shop;
  shop.serves([]);
  await shop.settled();
  for (const family of FAMILIES) {
    const { external, clusterIp, node } = FRONTENDS[family];
    const visits = [
      [client, external, 80, 53],
      [client, node, 30080, 30053],
      [shopper.inhabitant, clusterIp, 80, 53],
    ] as const;
    for (const [who, host, tcp, udp] of visits) {
      t.regex(await who.fails(who.gets(host, tcp)), /ECONNREFUSED/, `${who.name} to ${host} by TCP`);
      t.regex(await who.fails(who.asks(host, udp)), /ECONNREFUSED/, `${who.name} to ${host} by UDP`);
    }
  }
  const reasons = shop.a.weir<{ reason: string }[]>('drops').map((drop) => drop.reason);
  t.true(reasons.includes('no-endpoint'), `drops name the reason: ${reasons.join()}`);
});

test('a port that no pod listens on is refused through the service, too', async (t) => {
  await using shop = await Shop.open({ dropInvalid: true });
  const { client, web1, web2, shopper } = shop;
  for (const pod of [web1, web2]) await pod.inhabitant.stop(8081);
  for (const forwarding of FORWARDINGS) {
    for (const pod of [web1, web2]) {
      shop.serves([pod], { annotations: { 'weir.io/forwarding': forwarding } });
      await shop.settled();
      for (const family of FAMILIES) {
        const { external, clusterIp } = FRONTENDS[family];
        const label = `${forwarding} ${pod.name} ${family}`;
        t.regex(await client.fails(client.asks(external, 53)), /ECONNREFUSED/, `client ${label}`);
        t.regex(await client.fails(shopper.inhabitant.asks(clusterIp, 53)), /ECONNREFUSED/, `shopper ${label}`);
      }
    }
  }
});
