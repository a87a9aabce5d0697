/** Policies between real sockets by nftables alone: no service is served, so the kernel needs no IPVS. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { type Agent, type Node, type Pod, type PodShape, run, until, World } from './world.js';

const FLAGS = ['--dataplane', 'ipvs', '--run-service-proxy=false'];

const podObject = ({ name, node, v4, v6 }: Pod, app: string): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'shop', labels: { app } },
  spec: { nodeName: node.name, containers: [{ name: 'main' }] },
  status: { phase: 'Running', podIP: v4, podIPs: [{ ip: v4 }, { ip: v6 }] },
});

const policy = (name: string, spec: object, annotations = {}): object => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace: 'shop', annotations },
  spec,
});

function lets(from: string, annotations = {}): object {
  const ingress = [{ from: [{ podSelector: { matchLabels: { app: from } } }], ports: [{ port: 80 }] }];
  return policy(
    'web',
    { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'], ingress },
    annotations,
  );
}

interface Place extends AsyncDisposable {
  readonly world: World;
  readonly node: Node;
  readonly agent: Agent;
  readonly web: Pod;
  readonly friend: Pod;
  readonly stranger: Pod;
}

async function open(shape: PodShape, ...flags: string[]): Promise<Place> {
  const world = await World.create({ shape });
  try {
    const node = world.node('node-a', 1);
    const [web, friend, stranger] = [
      await world.pod(node, 'web'),
      await world.pod(node, 'friend'),
      await world.pod(node, 'stranger'),
    ];
    await web.inhabitant.serve(80);
    world.write('pods.json', [node.manifest(), ...[web, friend, stranger].map((pod) => podObject(pod, pod.name))]);
    const agent = await world.agent(node, ...FLAGS, ...flags);
    return { world, node, agent, web, friend, stranger, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
  } catch (error) {
    await world[Symbol.asyncDispose]();
    throw error;
  }
}

async function apply({ world, node }: Place, ...policies: object[]): Promise<void> {
  world.write('policy.json', policies);
  await node.agrees();
}

async function droppedByPolicy({ world, node }: Place): Promise<number> {
  const scraper = await world.inhabit('scraper', node.space);
  const { body } = await scraper.fetches('http://127.0.0.1:10249/metrics');
  return Number(/^weir_drops_total\{reason="policy-ingress"\} (\d+)$/m.exec(body)?.[1]);
}

const asks = (from: Pod, address: string): Promise<string> =>
  from.inhabitant.fails(from.inhabitant.gets(address, 80, { timeout: 700 }));

for (const shape of ['routed', 'bridge'] as const) {
  test(`a policy lets in whom it names, cuts the others, and holds without the agent (${shape})`, async (t) => {
    await using place = await open(shape);
    const { web, friend, stranger, node, agent } = place;
    const held = await stranger.inhabitant.holds(web.v4, 80);
    await apply(place, lets('friend'));
    for (const address of [web.v4, web.v6]) {
      t.is(await asks(friend, address), '');
      t.regex(await asks(stranger, address), /timeout/);
    }
    t.regex(await stranger.inhabitant.fails(stranger.inhabitant.speaks(held.id)), /./, 'a live connection is cut');
    const dropped = await droppedByPolicy(place);
    await agent.kill();
    t.is(await asks(friend, web.v4), '');
    t.regex(await asks(stranger, web.v4), /timeout/);
    const [drop] = node
      .weir<Record<string, unknown>[]>('drops')
      .filter(({ source, port }) => source === stranger.v4 && port === 80);
    t.like(drop, { reason: 'policy-ingress', direction: 'ingress', protocol: 'TCP', pod: 'shop/web' });
    t.deepEqual(drop?.['policies'], ['shop/web']);
    t.like(drop, { sourceName: 'shop/stranger', destinationName: 'shop/web', peer: 'shop/stranger' });
    t.true(dropped > 0, 'it is counted by its reason');
    t.deepEqual(drop?.['nearest'], { rule: 'shop/web ingress[0]', lacks: ['allows tcp/80 from other peers'] });
    await agent.restart();
    t.is(agent.changedAtStart, 0, 'what is there is adopted');
    await apply(place, lets('friend', { 'weir.io/deny-action': 'reject' }));
    t.regex(await asks(stranger, web.v4), /ECONNREFUSED/);
  });
}

test('what another hand does to the table is named, and mended', async (t) => {
  await using place = await open('routed');
  const { web, friend, stranger, node, agent } = place;
  await apply(place, lets('friend'));
  await agent.kill();
  const nft = (...args: string[]): string => node.run('/usr/sbin/nft', ...args);
  nft('delete', 'element', 'inet', 'weir-policy', 'ingress4', `{ ${web.v4} }`);
  nft('add', 'rule', 'inet', 'weir-policy', 'judge', 'return');
  const { chain, handle } = lastRule(node, /^deny_in_/);
  nft('replace', 'rule', 'inet', 'weir-policy', chain, 'handle', `${handle}`, 'accept');
  t.is(await asks(stranger, web.v4), '', 'it makes a difference');
  nft('chain', 'inet', 'weir-policy', 'forward', '{ policy drop; }');
  const flags = ['--manifests', place.world.manifests, '--node-name', node.name, ...FLAGS];
  const { status, answer } = node.asks<{ table: string; key: string }[]>('diff', ...flags);
  t.is(status, 1);
  t.deepEqual(
    answer.map(({ key }) => key).sort(),
    ['chain forward', 'chain judge', `chain ${chain}`, `ingress4 ${web.v4}`].sort(),
  );
  await agent.restart();
  t.regex(await asks(stranger, web.v4), /timeout/);
  t.is(await asks(friend, web.v4), '');
});

test('a running agent names what another hand does to the table, and mends it within seconds', async (t) => {
  await using place = await open('routed');
  const { web, stranger, node, agent } = place;
  await apply(place, lets('friend'));
  t.regex(await asks(stranger, web.v4), /timeout/);
  t.notRegex(agent.log, /another program has changed/, 'what the agent does itself is nobody else’s');
  node.run('/usr/sbin/nft', 'delete', 'element', 'inet', 'weir-policy', 'ingress4', `{ ${web.v4} }`);
  await new Promise((resolve) => setTimeout(resolve, 4000));
  t.regex(await asks(stranger, web.v4), /timeout/);
  t.regex(agent.log, /another program has changed .*inet weir-policy: -ingress4/);

  const { chain, handle } = lastRule(node, /^deny_in_/);
  node.run('/usr/sbin/nft', 'replace', 'rule', 'inet', 'weir-policy', chain, 'handle', `${handle}`, 'accept');
  await new Promise((resolve) => setTimeout(resolve, 4000));
  t.regex(await asks(stranger, web.v4), /timeout/, 'as many rules as before, but others');
  t.regex(agent.log, /another program has changed .*inet weir-policy: chain deny_in_/);
  t.is(agent.log.match(/another program has changed/g)?.length, 2, 'what the agent puts back is nobody else’s');

  node.run('/usr/sbin/nft', 'add', 'table', 'inet', 'weir-policy', '{ flags dormant; }');
  t.is(await asks(stranger, web.v4), '', 'no chain is asked');
  await new Promise((resolve) => setTimeout(resolve, 4000));
  t.regex(await asks(stranger, web.v4), /timeout/);
  t.is(agent.log.match(/another program has changed/g)?.length, 3);
});

test('what lets policy see a bridge is put back', async (t) => {
  await using place = await open('bridge');
  const { web, stranger, node, agent } = place;
  await apply(place, lets('friend'));
  node.run('sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=0');
  t.is(await asks(stranger, web.v4), '', 'it makes a difference');
  await agent.says(/another program has changed .*net\/bridge\/bridge-nf-call-iptables=0/);
  t.regex(await asks(stranger, web.v4), /timeout/);
});

test('a frame with a VLAN tag comes from no pod', async (t) => {
  await using place = await open('bridge');
  const { web, stranger, node, agent } = place;
  await apply(place, lets('friend'));
  const ears = spawn('ip', ['netns', 'exec', web.inhabitant.space, 'python3', '-uc', EARS]);
  t.teardown(() => ears.kill());
  let heard = '';
  ears.stdout.on('data', (text: Buffer) => (heard += text.toString()));
  await until(
    () => heard.startsWith('ready'),
    5000,
    () => 'web does not listen',
  );
  const mac = /link\/ether (\S+)/.exec(inside(web, 'ip', 'link', 'show', 'eth0'))?.[1] ?? '';
  const say = (tags: number): void =>
    forge(stranger, 'tagged', 'eth0', stranger.v4, `${web.v4},${mac}`, '5353', `${tags}`);
  for (const tags of [1, 2]) say(tags);
  await until(
    () => node.weir<{ reason: string; packets: number }[]>('drops').some(({ reason }) => reason === 'spoofed-source'),
    5000,
    () => `nothing was dropped: ${JSON.stringify(node.weir('drops'))}`,
  );
  t.is(heard, 'ready\n');
  await agent.kill();
  node.run('/usr/sbin/nft', 'delete', 'table', 'bridge', 'weir-policy');
  say(2);
  await until(
    () => heard.includes('tagged'),
    5000,
    () => 'it makes no difference',
  );
});

test('no pod claims an address that lives behind another port', async (t) => {
  await using place = await open('bridge');
  const { web, stranger, node } = place;
  const host = await place.world.inhabit('host', node.space);
  await apply(place, lets('friend'));
  t.is((await host.gets(web.v4, 80)).who, web.name);
  await becomesBound(place, true);
  const neighbour = (): string => node.run('ip', 'neigh', 'show', web.v4);
  const [, mac = ''] = /lladdr (\S+)/.exec(neighbour()) ?? [];
  for (let i = 0; i < 3; i++) {
    forge(stranger, 'claims', 'eth0', web.v4);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  t.true(neighbour().includes(mac), neighbour());
  t.is((await host.gets(web.v4, 80)).who, web.name);
});

test('blocks of IPv6 in which addresses of IPv4 count are as good as others, and no other hand’s', async (t) => {
  await using place = await open('routed');
  const { web, friend, stranger, node, agent } = place;
  const blocks = ['::/80', '::8.8.8.8/128', '::ffff:0:0:0/96', '2001:db8::/64'];
  const to = blocks.map((cidr) => ({ ipBlock: { cidr, ...(cidr === '::/80' ? { except: ['::fffe:0:0/96'] } : {}) } }));
  const wide = policy('wide', {
    podSelector: { matchLabels: { app: 'stranger' } },
    policyTypes: ['Egress'],
    egress: [{ to }],
  });
  await apply(place, wide, lets('friend'));
  t.regex(await asks(stranger, web.v4), /timeout/);
  t.is(await asks(friend, web.v4), '');
  await new Promise((resolve) => setTimeout(resolve, 3000));
  t.notRegex(agent.log, /another program has changed|error/);
  const flags = ['--manifests', place.world.manifests, '--node-name', node.name, ...FLAGS];
  t.is(node.status('diff', ...flags), 0);
});

const EARS = [
  'import socket',
  's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
  's.bind(("0.0.0.0", 5353))',
  'print("ready")',
  'while True: print(s.recv(100).decode())',
].join('\n');

const FORGED = fileURLToPath(new URL('../../../test/netns/forged.py', import.meta.url));

function forge(pod: Pod, ...words: string[]): void {
  inside(pod, 'python3', FORGED, ...words);
}

function inside(pod: Pod, ...command: string[]): string {
  return run('ip', 'netns', 'exec', pod.inhabitant.space, ...command);
}

function lastRule(node: Node, chain: RegExp): { readonly chain: string; readonly handle: number } {
  const listing = node.run('/usr/sbin/nft', '-j', 'list', 'table', 'inet', 'weir-policy');
  const { nftables } = JSON.parse(listing) as { nftables: { rule?: { chain: string; handle: number } }[] };
  const rule = nftables.flatMap(({ rule: one }) => one ?? []).findLast((one) => chain.test(one.chain));
  if (!rule) throw new Error(`no rule in ${chain.source}`);
  return rule;
}

test('an address whose port the bridge forgets is bound to none, and to its port again with the next frame', async (t) => {
  await using place = await open('bridge');
  const { web, node } = place;
  const host = await place.world.inhabit('host', node.space);
  await apply(place, lets('friend'));
  t.is((await host.gets(web.v4, 80)).who, web.name);
  await becomesBound(place, true);
  forgetPort(place);
  await becomesBound(place, false);
  t.is((await host.gets(web.v4, 80)).who, web.name);
  await becomesBound(place, true);
});

test('what happens while a program that watches starts again is seen', async (t) => {
  await using place = await open('bridge');
  const { web, node, agent } = place;
  const host = await place.world.inhabit('host', node.space);
  await apply(place, lets('friend'));
  t.is((await host.gets(web.v4, 80)).who, web.name);
  await becomesBound(place, true);
  agent.killChildren('ip -o monitor');
  await new Promise((resolve) => setTimeout(resolve, 500));
  forgetPort(place);
  await becomesBound(place, false);
  agent.killChildren('nft monitor');
  await new Promise((resolve) => setTimeout(resolve, 500));
  node.run('/usr/sbin/nft', 'delete', 'element', 'inet', 'weir-policy', 'ingress4', `{ ${web.v4} }`);
  await agent.says(/another program has changed .*inet weir-policy: -ingress4/);
});

async function becomesBound({ node, web }: Place, bound: boolean): Promise<void> {
  await until(
    () => node.run('/usr/sbin/nft', 'list', 'set', 'bridge', 'weir-policy', 'bound4').includes(web.v4) === bound,
    5000,
    () => `${web.name} is ${bound ? 'not' : 'still'} bound to a port`,
  );
}

function forgetPort({ node, web }: Place): void {
  const [learnt] = JSON.parse(node.run('ip', '-j', 'neigh', 'show', web.v4)) as { readonly lladdr: string }[];
  node.run('bridge', 'fdb', 'del', learnt?.lladdr ?? '', 'dev', web.device, 'master');
}

test('endpoints and policies are listed with the agent dead, with the rules that allow', async (t) => {
  await using place = await open('routed');
  const { web, friend, node, agent } = place;
  const everything = policy(
    'all',
    { podSelector: {}, policyTypes: ['Egress'], egress: [{}] },
    { 'weir.io/mode': 'audit' },
  );
  await apply(place, lets('friend', { 'weir.io/deny-action': 'reject' }), everything);
  t.is(await asks(friend, web.v4), '');
  await agent.kill();
  const endpoints = node.weir<Record<string, unknown>[]>('endpoint', 'list');
  t.is(endpoints.length, 6, 'three pods of two addresses');
  const endpoint = endpoints.find(({ address }) => address === web.v4);
  t.like(endpoint, {
    pod: 'shop/web',
    ingress: {
      policies: ['shop/web'],
      action: 'reject',
      rules: [{ rule: 'shop/web ingress[0]', anyone: false, ports: 'tcp/80' }],
    },
    egress: null,
    auditIngress: null,
    auditEgress: {
      policies: ['shop/all'],
      action: 'drop',
      rules: [{ rule: 'shop/all egress[0]', anyone: true, ports: 'everything' }],
    },
  });
  t.truthy(endpoint?.['device'], 'the device is known');
  t.deepEqual(node.weir<unknown[]>('policy', 'list'), [
    {
      ...{ namespace: 'shop', name: 'all', mode: 'audit', directions: ['egress'] },
      pods: ['shop/friend', 'shop/stranger', 'shop/web'],
    },
    { namespace: 'shop', name: 'web', mode: 'enforce', directions: ['ingress'], pods: ['shop/web'] },
  ]);
});

test('cleanup takes away the tables of policy, and nobody else’s', async (t) => {
  await using place = await open('bridge');
  const { web, stranger, node, agent } = place;
  await apply(place, lets('friend'));
  t.regex(await asks(stranger, web.v4), /timeout/);
  node.run('/usr/sbin/nft', 'add', 'table', 'inet', 'mine');
  await agent.kill('SIGTERM');
  t.is(node.status('cleanup'), 0);
  t.is(node.run('/usr/sbin/nft', 'list', 'tables').trim(), 'table inet mine');
  t.is(await asks(stranger, web.v4), '');
});

test('a pod that nobody knows is cut off where that is asked for', async (t) => {
  await using place = await open('routed', '--default-deny-unknown');
  const { web, friend, stranger, world, node } = place;
  t.is(await asks(stranger, web.v4), '');
  world.write('pods.json', [node.manifest(), podObject(web, 'web'), podObject(friend, 'friend')]);
  await node.agrees();
  t.regex(await asks(stranger, web.v4), /timeout/);
  t.is(await asks(friend, web.v4), '');
  const reasons = node.weir<{ reason: string }[]>('drops').map(({ reason }) => reason);
  t.true(reasons.includes('unknown-endpoint'), reasons.join());
});
