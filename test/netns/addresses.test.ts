import { execFileSync } from 'node:child_process';
import test from 'ava';
import { FAMILIES, FRONTENDS, Shop } from './shop.js';
import type { Inhabitant } from './world.js';

const BALANCED = { v4: '192.0.2.90', v6: '2001:db8::90' } as const;
const NOBODYS = { v4: '10.96.0.99', v6: 'fd00:96::99' } as const;

/** One echo request from the inhabitant's namespace, by a ping socket. */
function pings(who: Inhabitant, host: string): boolean {
  const script = [
    'import socket, sys',
    'v6 = ":" in sys.argv[1]',
    's = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, 58 if v6 else 1)',
    's.settimeout(1)',
    's.connect((sys.argv[1], 0))',
    'def word(b): return sum((b[i] << 8) + b[i + 1] for i in range(0, len(b), 2))',
    'body = bytes([128 if v6 else 8, 0, 0, 0, 0, 7, 0, 1]) + b"are you there?.."',
    'check = word(body)',
    'check = ~((check & 0xffff) + (check >> 16)) & 0xffff',
    's.send(body if v6 else body[:2] + check.to_bytes(2, "big") + body[4:])',
    'while True:',
    '    data = s.recv(200)',
    '    kind = data[0] if v6 else data[(data[0] & 15) * 4]',
    '    if kind == (129 if v6 else 0): sys.exit(0)',
  ].join('\n');
  try {
    execFileSync('ip', ['netns', 'exec', who.space, 'python3', '-c', script, host], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

test('a service has its addresses whole: other ports are refused, echo is answered, nobody’s address is refused', async (t) => {
  await using shop = await Shop.open({ flags: ['--service-cidr', '10.96.0.0/12,fd00:96::/112'], dropInvalid: true });
  const { client, shopper } = shop;
  for (const family of FAMILIES) {
    const { external, clusterIp } = FRONTENDS[family];
    for (const address of [clusterIp, NOBODYS[family]]) shop.world.routeAddress(address, shop.a);
    for (const [who, host] of [
      [client, external],
      [client, clusterIp],
      [client, NOBODYS[family]],
      [shopper.inhabitant, external],
      [shopper.inhabitant, clusterIp],
      [shopper.inhabitant, NOBODYS[family]],
    ] as const) {
      t.regex(await who.fails(who.gets(host, 4444)), /ECONNREFUSED/, `${who.name} to ${host} by TCP`);
      t.regex(await who.fails(who.asks(host, 4444)), /ECONNREFUSED/, `${who.name} to ${host} by UDP`);
      t.is(pings(who, host), host !== NOBODYS[family], `${who.name} pings ${host}`);
    }
  }
});

test('a load balancer address admits the ranges of its service', async (t) => {
  await using shop = await Shop.open();
  const { client, shopper, web1, web2 } = shop;
  for (const family of FAMILIES) shop.world.routeAddress(BALANCED[family], shop.a);
  const balanced = { loadBalancerIPs: Object.values(BALANCED) };
  const works = (who: Inhabitant, host: string): Promise<boolean> =>
    who.gets(host, 80, { timeout: 700 }).then(
      () => true,
      () => false,
    );
  for (const { ranges, v4, v6 } of [
    { ranges: [' 10.9.0.0/24 ', 'fd00:9::/64'], v4: true, v6: true },
    { ranges: ['10.8.0.0/24', 'fd00:8::/64'], v4: false, v6: false },
    { ranges: ['10.8.0.0/24'], v4: false, v6: true },
  ]) {
    shop.serves([web1, web2], { ...balanced, loadBalancerSourceRanges: ranges });
    await shop.settled();
    t.is(await works(client, BALANCED.v4), v4, ranges.join());
    t.is(await works(client, BALANCED.v6), v6, ranges.join());
    t.false(await works(shopper.inhabitant, BALANCED.v4), 'pods are held to the ranges as well');
    t.true(await works(client, FRONTENDS.v4.external), 'other addresses are open');
  }
});
