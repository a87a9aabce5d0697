import test from 'ava';
import { FRONTENDS, Shop } from './shop.js';

test('a pod cannot send with the address of its neighbour', async (t) => {
  for (const shape of ['routed', 'bridge'] as const) {
    await using shop = await Shop.open({ shape, rpFilter: 0 });
    const { a, web1, shopper } = shop;
    shop.serves([web1, shopper]);
    await shop.settled();
    /* both have been heard of, so both are bound to their devices */
    await web1.inhabitant.gets(FRONTENDS.v4.clusterIp, 80);
    await shopper.inhabitant.gets(FRONTENDS.v4.clusterIp, 80);
    shopper.inhabitant.ip(`addr add ${web1.v4}/32 dev eth0`);
    const forged = shopper.inhabitant.gets('10.9.0.10', 9, { localAddress: web1.v4, timeout: 500 });
    t.regex(await shopper.inhabitant.fails(forged), /timeout/);
    const drops = a.weir<{ reason: string; source: string }[]>('drops');
    t.true(
      drops.some((drop) => drop.reason === 'spoofed-source' && drop.source.startsWith(web1.v4)),
      JSON.stringify(drops),
    );
  }
});

test('a pod cannot reach its neighbour over link-local addresses', async (t) => {
  await using shop = await Shop.open({ shape: 'bridge' });
  const { a, web1, shopper } = shop;
  shop.serves([web1, shopper]);
  await shop.settled();
  await shopper.inhabitant.gets(FRONTENDS.v6.clusterIp, 80);
  await web1.inhabitant.gets(FRONTENDS.v6.clusterIp, 80);
  shopper.inhabitant.ip('addr add fe80::5/64 dev eth0 nodad');
  web1.inhabitant.ip('addr add fe80::6/64 dev eth0 nodad');
  const whisper = shopper.inhabitant.asks('fe80::6%eth0', 8081, { timeout: 500 });
  t.regex(await shopper.inhabitant.fails(whisper), /timeout/);
  const drops = a.weir<{ reason: string; source: string }[]>('drops');
  t.true(
    drops.some((drop) => drop.reason === 'spoofed-source' && drop.source.includes('fe80::')),
    JSON.stringify(drops),
  );
});

test('cleanup leaves nothing behind and traffic that needs no service goes on', async (t) => {
  await using shop = await Shop.open();
  const { client, a, agents, web1 } = shop;
  const before = a.run('/usr/sbin/tc', 'qdisc', 'show');
  t.regex(before, /clsact/);
  await agents[0]?.kill('SIGTERM');
  const planned = a.run(...(['/bin/sh', '-c', `${a.weirCommand} cleanup --dry-run --bpf-root ${a.bpfRoot}`] as const));
  t.regex(planned, /eth0/);
  t.truthy(await client.gets(FRONTENDS.v4.external, 80), 'a dry run changes nothing');
  t.is(a.status('cleanup'), 0);
  t.notRegex(a.run('/usr/sbin/tc', 'qdisc', 'show'), /clsact/);
  t.is(a.run('/bin/sh', '-c', `ls -d ${a.bpfRoot} 2>/dev/null || echo gone`).trim(), 'gone');
  t.is(a.run('/bin/cat', '/proc/sys/net/ipv4/ip_forward').trim(), '0', 'what the agent switched on is as it was');
  t.truthy(web1);
});
