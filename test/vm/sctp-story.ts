/**
 * Runs in a guest whose kernel has SCTP sockets: associations from far away, and from a pod, reach every backend of a service
 * and are told apart by who answers. Exits other than 0 with what was not so.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { service } from '../netns/manifests.js';
import { FAMILIES, FRONTENDS, Shop } from '../netns/shop.js';
import { type Pod, run } from '../netns/world.js';

const SCTP = fileURLToPath(new URL('../../../test/vm/sctp.py', import.meta.url));

interface Reply {
  readonly who: string;
  readonly client: string;
}

run('modprobe', 'sctp');
await using shop = await Shop.open();
const { world, client, web1, web2, shopper } = shop;
for (const pod of [web1, web2]) await serve(pod);
const addresses = {
  clusterIPs: FAMILIES.map((family) => FRONTENDS[family].clusterIp),
  externalIPs: FAMILIES.map((family) => FRONTENDS[family].external),
};
const annotations = { 'weir.io/scheduler': 'rr' };
const spec = { name: 'sctp', protocol: 'SCTP', port: 36412, targetPort: 8082, nodePort: 30412 } as const;
for (const forwarding of ['nat', 'dsr']) {
  const how = { ...annotations, 'weir.io/forwarding': forwarding };
  world.write('sctp.json', service({ ...spec, ...addresses, annotations: how, pods: [web1, web2] }));
  await shop.settled();
  for (const family of FAMILIES) {
    const at = FRONTENDS[family];
    const visits = [
      { from: client.space, host: at.external, port: 36412 },
      { from: client.space, host: at.node, port: 30412 },
      { from: shopper.inhabitant.space, host: at.clusterIp, port: 36412 },
    ];
    for (const { from, host, port } of visits) {
      const replies = [get(from, host, port), get(from, host, port)];
      const who = replies.map((reply) => reply.who).sort();
      assert.deepEqual(who, [web1.name, web2.name], `${forwarding} to ${host}:${port}`);
      if (forwarding === 'dsr' && from === client.space)
        assert.ok(
          replies.every((reply) => reply.client === at.client),
          'the client address survives',
        );
      process.stdout.write(`${forwarding} ${host}:${port} ${JSON.stringify(replies)}\n`);
    }
  }
}

async function serve(pod: Pod): Promise<void> {
  const command = ['netns', 'exec', pod.inhabitant.space, 'python3', SCTP, 'serve', pod.name, '8082'];
  const child = spawn('ip', command, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.unref();
  child.stdout.destroy();
}

function get(space: string, host: string, port: number): Reply {
  const command = ['netns', 'exec', space, 'python3', SCTP, 'get', host, `${port}`];
  return JSON.parse(execFileSync('ip', command, { encoding: 'utf8' })) as Reply;
}
