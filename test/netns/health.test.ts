import { join } from 'node:path';
import test from 'ava';
import { parseMetrics, type Family } from '../helpers/prometheus.js';
import { service, type ServiceSpec } from './manifests.js';
import { FAMILIES, FRONTENDS, Shop } from './shop.js';
import { type Inhabitant, type Node, until } from './world.js';

const PORT = 31000;

/** What a load balancer far away learns from a node about the service. */
async function probe(shop: Shop, node: Node, family: 'v4' | 'v6' = 'v4'): Promise<string> {
  const host = family === 'v4' ? node.v4 : `[${node.v6}]`;
  const { status, headers, body } = await shop.client.fetches(`http://${host}:${PORT}/any`);
  const { localEndpoints } = JSON.parse(body) as { localEndpoints: number };
  return `${status} ${localEndpoints} ${headers['x-load-balancing-endpoint-weight']}`;
}

function balanced(shop: Shop, pods: ServiceSpec['pods'], more: Partial<ServiceSpec> = {}): void {
  const spec = { name: 'lb', loadBalancerIPs: ['192.0.2.90'], clusterIPs: ['10.96.0.90'], nodePort: 30090 };
  const local = { externalTrafficPolicy: 'Local', healthCheckNodePort: PORT } as const;
  shop.world.write('lb.json', service({ ...spec, ...local, pods, ...more }));
}

test('a load balancer finds the nodes with ready endpoints while endpoints come, terminate and go', async (t) => {
  await using shop = await Shop.open();
  const { client, a, b, web1, web2, shopper } = shop;
  shop.world.routeAddress('192.0.2.90', a);
  const expect = async (what: string, pods: ServiceSpec['pods'], atA: string, atB: string): Promise<void> => {
    balanced(shop, pods);
    await shop.settled();
    for (const family of FAMILIES) {
      t.is(await probe(shop, a, family), atA, `node-a, ${family}: ${what}`);
      t.is(await probe(shop, b, family), atB, `node-b, ${family}: ${what}`);
    }
  };
  await expect('one here, none there', [web1], '200 1 1', '503 0 0');
  await expect('two here, one there', [web1, shopper, web2], '200 2 2', '200 1 1');
  await expect('one here terminates', [web1, { pod: shopper, terminating: true }, web2], '200 1 1', '200 1 1');
  await expect('the only one here terminates', [{ pod: web1, terminating: true }, web2], '503 0 0', '200 1 1');
  t.is((await client.gets('192.0.2.90', 80)).who, web1.name, 'it serves to the end, as probes take their time');
  await expect('gone here', [web2], '503 0 0', '200 1 1');
  await expect('back', [web1, web2], '200 1 1', '200 1 1');
  balanced(shop, [web1], { healthCheckNodePort: PORT + 1 });
  await until(
    async () => (await client.fails(client.fetches(`http://${a.v4}:${PORT}/`))) !== '',
    20_000,
    () => 'the port that the service has given up still answers',
  );
  t.is((await client.fetches(`http://${a.v4}:${PORT + 1}/`)).status, 200);
  shop.world.remove('lb.json');
  await until(
    async () => (await client.fails(client.fetches(`http://${a.v4}:${PORT + 1}/`))) !== '',
    20_000,
    () => `a service that is gone still answers: ${shop.agents[0]?.log}`,
  );
});

test('a taken healthCheckNodePort is named with its service, once, and served when it is free', async (t) => {
  await using shop = await Shop.open();
  const { world, a, web1, agents } = shop;
  const squatter = await world.inhabit('squatter', a.space);
  await squatter.serve(PORT);
  balanced(shop, [web1]);
  await agents[0]?.says(/Service shop\/lb: spec\.healthCheckNodePort: cannot be served on node node-a: .*EADDRINUSE/);
  await squatter.stop(PORT);
  await until(
    async () => (await probe(shop, a).catch(() => '')) === '200 1 1',
    10_000,
    () => 'not served',
  );
  t.is(agents[0]?.log.match(/EADDRINUSE/g)?.length, 1);
});

async function scrape(who: Inhabitant): Promise<Map<string, Family>> {
  const { status, body } = await who.fetches('http://127.0.0.1:10249/metrics');
  if (status !== 200) throw new Error(`${status}`);
  return parseMetrics(body);
}

test('a scrape tells what happened on the node, and scripts find the mode', async (t) => {
  await using shop = await Shop.open({ annotations: { 'weir.io/forwarding': 'dsr' } });
  const { world, client, a, web2 } = shop;
  const scraper = await world.inhabit('scraper', a.space);
  t.is((await scraper.fetches('http://127.0.0.1:10249/proxyMode')).body, 'weir-bpf');
  shop.serves([web2]);
  await shop.settled();
  for (let i = 0; i < 3; i++) await client.gets(FRONTENDS.v4.external, 80);
  shop.serves([]);
  await shop.settled();
  await client.fails(client.gets(FRONTENDS.v4.external, 80));
  const families = await scrape(scraper);
  const value = (name: string, labels = {}): number => families.get(name)?.value('', labels) ?? -1;
  const forwarded = value('weir_packets_total', { reason: 'forwarded-dsr' });
  t.true(forwarded >= 9, `${forwarded} packets`);
  t.true(value('weir_bytes_total', { reason: 'forwarded-dsr' }) >= 40 * forwarded);
  t.true(value('weir_drops_total', { reason: 'no-endpoint' }) >= 1);
  t.is(value('weir_services'), 2);
  t.is(value('weir_synced'), 1);
  t.deepEqual(
    [value('weir_attached_devices', { role: 'uplink' }), value('weir_attached_devices', { role: 'pod' })],
    [1, 2],
  );
  t.is(value('weir_generation'), a.weir<{ generation: number }>('status').generation);
  t.true((families.get('kubeproxy_sync_proxy_rules_duration_seconds')?.value('_count') ?? 0) >= 3);
  t.is(value('kubeproxy_sync_proxy_rules_service_changes_pending'), 0);
  const dump = a.run('bpftool', '-j', 'map', 'dump', 'pinned', join(a.bpfRoot, 'weir_frontends'));
  const frontends = (JSON.parse(dump) as unknown[]).length;
  t.is(value('weir_map_entries', { map: 'weir_frontends' }), frontends, 'counted without reading the map');
  t.true(value('weir_map_capacity', { map: 'weir_frontends' }) > frontends);
});

test('programs that another hand takes away are put back, and the node is unhealthy without them', async (t) => {
  await using shop = await Shop.open();
  const { world, client, a, agents } = shop;
  const kubelet = await world.inhabit('kubelet', a.space);
  const health = async (path: string): Promise<number> =>
    (await kubelet.fetches(`http://127.0.0.1:10256${path}`)).status;
  t.deepEqual([await health('/healthz'), await health('/livez'), await health('/readyz')], [200, 200, 200]);
  a.run('tc', 'qdisc', 'del', 'dev', 'eth0', 'clsact');
  await agents[0]?.says(/device=eth0 has lost its programs[^]*attached device=eth0 role=uplink/, 20_000);
  t.truthy(await client.gets(FRONTENDS.v4.external, 80));
  await until(
    async () => (await health('/healthz')) === 200,
    10_000,
    () => 'not healthy again',
  );
  /* somebody else has the place now: they cannot be put back */
  const squat = ['filter del dev eth0 ingress', "filter add dev eth0 ingress prio 1 handle 1 bpf bytecode '1,6 0 0 0'"];
  a.run('sh', '-c', squat.map((command) => `tc ${command}`).join(' && '));
  await until(
    async () => (await health('/healthz')) === 503 && (await health('/livez')) === 503,
    20_000,
    () => 'healthy without programs',
  );
  t.is(agents[0]?.log.match(/attach to eth0 ingress: .* has the place/g)?.length, 1, 'said once');
  a.run('tc', 'filter', 'del', 'dev', 'eth0', 'ingress');
  await until(
    async () => (await health('/healthz')) === 200,
    20_000,
    () => `not healthy again: ${agents[0]?.log}`,
  );
});

test('a node that is about to leave is told to load balancers, and its agent lives on', async (t) => {
  await using shop = await Shop.open();
  const { world, a, b, agents } = shop;
  const kubelet = await world.inhabit('kubelet', a.space);
  const health = async (path: string): Promise<number> =>
    (await kubelet.fetches(`http://127.0.0.1:10256${path}`)).status;
  t.is(await health('/healthz'), 200);
  const taints = [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' }];
  world.write('nodes.json', [{ ...a.manifest(), spec: { taints } }, b.manifest()]);
  await until(
    async () => (await health('/healthz')) === 503,
    10_000,
    () => agents[0]?.log ?? '',
  );
  const { body } = await kubelet.fetches('http://127.0.0.1:10256/healthz');
  t.like(JSON.parse(body), { nodeEligible: false, synced: true });
  t.deepEqual([await health('/livez'), await health('/readyz')], [200, 200]);
});
