import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { FAMILIES, FORWARDINGS, FRONTENDS, Shop } from './shop.js';
import { run } from './world.js';

/** Frames that XDP has sent out of the device they came in by. */
function sentByXdp(space: string): number {
  const statistics = run('ip', 'netns', 'exec', space, 'ethtool', '-S', 'eth0');
  return [...statistics.matchAll(/rx_queue_\d+_xdp_tx: (\d+)/g)].reduce((sum, match) => sum + Number(match[1]), 0);
}

/**
 * On a veth, XDP works on bare frames: checksums must be complete before they get there, and what XDP sends is received only
 * if the other end has an XDP program too. Senders complete their checksums here, and the router's ports let all pass.
 */
function likeHardware(shop: Shop): void {
  const { world, client, web1, web2, shopper } = shop;
  for (const space of [client.space, web1.inhabitant.space, web2.inhabitant.space, shopper.inhabitant.space]) {
    run('ip', 'netns', 'exec', space, 'ethtool', '-K', 'eth0', 'tx', 'off');
  }
  const object = join(world.directory, 'pass.bpf.o');
  const include = `/usr/include/${run('uname', '-m').trim()}-linux-gnu`;
  const source = fileURLToPath(new URL('../../../test/netns/pass.bpf.c', import.meta.url));
  run(process.env['CLANG'] ?? 'clang-19', '-O2', '-g', '-target', 'bpf', `-I${include}`, '-c', source, '-o', object);
  for (const port of ['n1', 'n2'])
    run('ip', '-n', world.space('router'), 'link', 'set', port, 'xdpdrv', 'obj', object, 'sec', 'xdp');
}

for (const forwarding of FORWARDINGS) {
  test(`XDP forwards to a backend on another node and local backends are served as well: ${forwarding}`, async (t) => {
    const annotations = { 'weir.io/scheduler': 'rr', 'weir.io/forwarding': forwarding };
    await using shop = await Shop.open({ annotations, flags: ['--xdp', 'native'] });
    const { a, client, web1, web2 } = shop;
    likeHardware(shop);
    for (const family of FAMILIES) {
      const { external, node } = FRONTENDS[family];
      for (const [host, tcp, udp] of [
        [external, 80, 53],
        [node, 30080, 30053],
      ] as const) {
        const before = sentByXdp(a.space);
        const replies = [];
        for (let i = 0; i < 4; i++) replies.push((await client.gets(host, tcp)).who);
        t.deepEqual(replies.sort(), [web1.name, web1.name, web2.name, web2.name], `rr to ${host} by TCP`);
        const answers = [(await client.asks(host, udp)).who, (await client.asks(host, udp)).who];
        t.deepEqual(answers.sort(), [web1.name, web2.name], `rr to ${host} by UDP`);
        t.true(sentByXdp(a.space) > before, 'the frames went out by XDP');
      }
    }
    shop.serves([web2]);
    await shop.settled();
    const transfer = await client.uploads(FRONTENDS.v4.external, 80, 2_000_000);
    t.is(transfer.received, transfer.sent);
  });
}
