/** Which virtual servers and which rows of the table `weir` a service becomes. */
import test from 'ava';
import { compileService, type Settings } from '../../src/core/desired.js';
import type { Service } from '../../src/core/model.js';
import { flattened } from '../../src/ipvs/ipvsadm-text.js';
import { FIRST_MARK, isOurMark, Marks } from '../../src/ipvs/marks.js';
import { type NodeView, placeService } from '../../src/ipvs/placement.js';
import { comesFirst } from '../../src/ipvs/ruleset.js';
import { matchText } from '../../src/ipvs/virtual.js';
import { endpoint, HTTP, ip, ips, service, settings, slice } from '../helpers/model.js';

const VIEW: NodeView = {
  own: new Set(ips('192.0.2.1', '2001:db8::1')),
  taken: new Set(ips('198.51.100.99')),
  nodeAddress: (name) => (name === 'node-2' ? ip('192.0.2.2') : undefined),
  tunnelEnd: (family) => (family === 'v4' ? ip('192.0.2.1') : undefined),
  isOnLink: (address) => address !== '10.1.0.3',
};
const ENDPOINTS = [endpoint('10.1.0.1', { nodeName: 'node-1' }), endpoint('10.1.0.2'), endpoint('10.1.0.3')];

interface Case {
  readonly name: string;
  readonly fields: Partial<Service>;
  readonly endpoints?: typeof ENDPOINTS;
  readonly settings?: Partial<Settings>;
  readonly servers: Readonly<Record<string, string>>;
  readonly rows: readonly string[];
}

const LOCAL_ROWS = ['local4 10.1.0.1', 'hairpin4 10.1.0.1 . 10.1.0.1'];
const ALL = {
  '10.1.0.1:8080': '-m -w 1',
  '10.1.0.2:8080': '-m -w 1',
  '10.1.0.3:8080': '-m -w 1',
};

/** Of the servers as placed, with marks named in the order in which they come. */
function placed(fields: Partial<Service>, endpoints = ENDPOINTS, change: Partial<Settings> = {}) {
  const desired = compileService(service('web', fields), [slice('web', endpoints)], settings(change));
  const { servers, rows } = placeService(desired, VIEW, new Marks());
  const marks = [...new Set(servers.flatMap(({ match }) => (match.kind === 'mark' ? [match.mark] : [])))];
  const named = (text: string): string =>
    marks.reduce((result, mark, index) => result.replaceAll(`${mark}`, `M${index}`), text);
  const flat = flattened(new Map(servers.map((server) => [matchText(server.match), server])));
  return {
    servers: Object.fromEntries([...flat].map(([key, value]) => [named(key), value])),
    rows: rows.map(({ table, key, value }) => named(`${table} ${key}${value ? ` : ${value}` : ''}`)),
  };
}

function each(virtual: string, options: string, servers: Readonly<Record<string, string>>): Record<string, string> {
  const list = Object.entries(servers).map(([name, text]) => [`${virtual} -r ${name}`, text]);
  return Object.fromEntries([[virtual, options], ...list]) as Record<string, string>;
}

const MH = '-s mh -b mh-fallback,mh-port';
const NODE_PORT = { ...HTTP, nodePort: 30080 };

const CASES: readonly Case[] = [
  {
    name: 'a ClusterIP is a virtual server of its address, which is bound here',
    fields: { clusterIps: ips('10.96.0.1') },
    servers: each('-t 10.96.0.1:80', MH, ALL),
    rows: ['services4 10.96.0.1 . tcp . 80', 'vips4 10.96.0.1', ...LOCAL_ROWS],
  },
  {
    name: 'a node port is a mark, because its address is not ours to bind',
    fields: { ports: [NODE_PORT] },
    settings: { nodePortAddresses: ips('192.0.2.1') },
    servers: each('-f M0', MH, ALL),
    rows: ['services4 192.0.2.1 . tcp . 30080', 'outside4 192.0.2.1 . tcp . 30080 : M0', ...LOCAL_ROWS],
  },
  {
    name: "an external address that is the node's own is a mark as well",
    fields: { externalIps: ips('192.0.2.1') },
    servers: each('-f M0', MH, ALL),
    rows: ['services4 192.0.2.1 . tcp . 80', 'outside4 192.0.2.1 . tcp . 80 : M0', ...LOCAL_ROWS],
  },
  {
    name: 'an external address that another node has is never bound here: what is for that node would not leave this one',
    fields: { externalIps: ips('192.0.2.2') },
    settings: { nodeAddresses: new Set(ips('192.0.2.1', '192.0.2.2')) },
    servers: each('-f M0', MH, ALL),
    rows: ['services4 192.0.2.2 . tcp . 80', 'outside4 192.0.2.2 . tcp . 80 : M0', ...LOCAL_ROWS],
  },
  {
    name: 'nor is the address of a node port that the node no longer has',
    fields: { ports: [NODE_PORT] },
    settings: { nodePortAddresses: ips('192.0.2.77') },
    servers: each('-f M0', MH, ALL),
    rows: ['services4 192.0.2.77 . tcp . 30080', 'outside4 192.0.2.77 . tcp . 30080 : M0', ...LOCAL_ROWS],
  },
  {
    name: 'an address at which another program has virtual servers is left to it',
    fields: { externalIps: ips('198.51.100.99', '198.51.100.1') },
    servers: each('-t 198.51.100.1:80', MH, ALL),
    rows: ['services4 198.51.100.1 . tcp . 80', 'vips4 198.51.100.1', ...LOCAL_ROWS],
  },
  {
    name: 'with a policy the clients on this node have a virtual server of their own, also while the endpoints are the same',
    fields: { externalIps: ips('198.51.100.1'), externalTrafficPolicy: 'Local' },
    endpoints: [endpoint('10.1.0.1', { nodeName: 'node-1' })],
    servers: {
      ...each('-t 198.51.100.1:80', MH, { '10.1.0.1:8080': '-m -w 1' }),
      ...each('-f M0', MH, { '10.1.0.1:8080': '-m -w 1' }),
    },
    rows: [
      'services4 198.51.100.1 . tcp . 80',
      'vips4 198.51.100.1',
      'inside4 198.51.100.1 . tcp . 80 : M0',
      ...LOCAL_ROWS,
    ],
  },
  {
    name: 'what starts on this node meets all endpoints where clients out there meet the local ones',
    fields: { externalIps: ips('198.51.100.1'), externalTrafficPolicy: 'Local' },
    servers: { ...each('-t 198.51.100.1:80', MH, { '10.1.0.1:8080': '-m -w 1' }), ...each('-f M0', MH, ALL) },
    rows: [
      'services4 198.51.100.1 . tcp . 80',
      'vips4 198.51.100.1',
      'inside4 198.51.100.1 . tcp . 80 : M0',
      ...LOCAL_ROWS,
    ],
  },
  {
    name: 'DSR asks other nodes by tunnel, for as much as they have, and local endpoints without one',
    fields: {
      externalIps: ips('198.51.100.1'),
      annotations: { 'weir.io/forwarding': 'dsr', 'weir.io/scheduler': 'rr' },
    },
    servers: {
      ...each('-t 198.51.100.1:80', '-s wrr', { '10.1.0.1:8080': '-m -w 1', '192.0.2.2:80': '-i -w 2' }),
      ...each('-f M0', '-s rr', ALL),
      ...each('-f M1', '-s rr', { '10.1.0.1:8080': '-m -w 1' }),
    },
    rows: [
      'services4 198.51.100.1 . tcp . 80',
      'vips4 198.51.100.1',
      'inside4 198.51.100.1 . tcp . 80 : M0',
      'dsr4 198.51.100.1 . tcp . 80',
      'tunnelled4 198.51.100.1 . tcp . 80 : M1',
      ...LOCAL_ROWS,
      'tunnel_ends4 10.1.0.1 : 192.0.2.1',
    ],
  },
  {
    name: 'a client keeps its endpoint by persistence where an address is enough, by its hash where there is a mark',
    fields: { clusterIps: ips('10.96.0.1'), ports: [NODE_PORT], affinity: 600 },
    settings: { nodePortAddresses: ips('192.0.2.1') },
    servers: { ...each('-t 10.96.0.1:80', `${MH} -p 600`, ALL), ...each('-f M0', '-s mh -b mh-fallback', ALL) },
    rows: [
      'services4 10.96.0.1 . tcp . 80',
      'vips4 10.96.0.1',
      'services4 192.0.2.1 . tcp . 30080',
      'outside4 192.0.2.1 . tcp . 30080 : M0',
      ...LOCAL_ROWS,
    ],
  },
  {
    name: 'what comes by tunnel for a node port names any node, and is known by the port alone',
    fields: { ports: [NODE_PORT], annotations: { 'weir.io/forwarding': 'dsr', 'weir.io/scheduler': 'rr' } },
    settings: { nodePortAddresses: ips('192.0.2.1') },
    servers: {
      ...each('-f M0', '-s wrr', { '10.1.0.1:8080': '-m -w 1', '192.0.2.2:30080': '-i -w 2' }),
      ...each('-f M1', '-s rr', ALL),
      ...each('-f M2', '-s rr', { '10.1.0.1:8080': '-m -w 1' }),
    },
    rows: [
      'services4 192.0.2.1 . tcp . 30080',
      'outside4 192.0.2.1 . tcp . 30080 : M0',
      'inside4 192.0.2.1 . tcp . 30080 : M1',
      'dsr4 192.0.2.1 . tcp . 30080',
      'node_ports4 tcp . 30080 : M2',
      'dsr_node_ports4 tcp . 30080',
      ...LOCAL_ROWS,
      'tunnel_ends4 10.1.0.1 : 192.0.2.1',
    ],
  },
  {
    name: 'DSR on one link sends packets on as they are, but to its own endpoints, and none through a gateway',
    fields: {
      externalIps: ips('198.51.100.1'),
      ports: [{ ...HTTP, port: 8080 }],
      annotations: { 'weir.io/forwarding': 'dsr-l2' },
    },
    servers: {
      ...each('-t 198.51.100.1:8080', MH, { '10.1.0.1:8080': '-m -w 1', '10.1.0.2:8080': '-g -w 1' }),
      ...each('-f M0', MH, ALL),
    },
    rows: [
      'services4 198.51.100.1 . tcp . 8080',
      'vips4 198.51.100.1',
      'inside4 198.51.100.1 . tcp . 8080 : M0',
      ...LOCAL_ROWS,
    ],
  },
  {
    name: 'a service without endpoints refuses, and keeps its virtual server for connections that are left',
    fields: { clusterIps: ips('10.96.0.1') },
    endpoints: [],
    servers: { '-t 10.96.0.1:80': MH },
    rows: [
      'services4 10.96.0.1 . tcp . 80',
      'vips4 10.96.0.1',
      'refused_outside4 10.96.0.1 . tcp . 80 : goto no_endpoint',
      'refused_inside4 10.96.0.1 . tcp . 80 : goto no_endpoint',
    ],
  },
  {
    name: 'source ranges hold for load balancer addresses alone, each once',
    fields: {
      clusterIps: ips('10.96.0.1'),
      loadBalancerIps: ips('198.51.100.9'),
      sourceRanges: [
        { address: ip('10.0.0.0'), bits: 8 },
        { address: ip('10.7.0.0'), bits: 16 },
        { address: ip('203.0.113.7'), bits: 32 },
      ],
    },
    servers: { ...each('-t 10.96.0.1:80', MH, ALL), ...each('-t 198.51.100.9:80', MH, ALL) },
    rows: [
      'services4 10.96.0.1 . tcp . 80',
      'vips4 10.96.0.1',
      'services4 198.51.100.9 . tcp . 80',
      'vips4 198.51.100.9',
      'restricted4 198.51.100.9 . tcp . 80',
      'admitted_tcp4 198.51.100.9 . 80 . 10.0.0.0/8',
      'admitted_tcp4 198.51.100.9 . 80 . 203.0.113.7',
      ...LOCAL_ROWS,
    ],
  },
  {
    name: 'a service whose endpoints all weigh nothing refuses what is new',
    fields: { clusterIps: ips('10.96.0.1'), annotations: { 'weir.io/weights': '10.1.0.2=0' } },
    endpoints: [endpoint('10.1.0.2')],
    servers: each('-t 10.96.0.1:80', MH, { '10.1.0.2:8080': '-m -w 0' }),
    rows: [
      'services4 10.96.0.1 . tcp . 80',
      'vips4 10.96.0.1',
      'refused_outside4 10.96.0.1 . tcp . 80 : goto no_endpoint',
      'refused_inside4 10.96.0.1 . tcp . 80 : goto no_endpoint',
    ],
  },
  {
    name: 'endpoints elsewhere are no reason to refuse: packets for local ones are dropped',
    fields: { externalIps: ips('198.51.100.1'), externalTrafficPolicy: 'Local' },
    endpoints: [endpoint('10.1.0.2')],
    servers: { '-t 198.51.100.1:80': MH, ...each('-f M0', MH, { '10.1.0.2:8080': '-m -w 1' }) },
    rows: [
      'services4 198.51.100.1 . tcp . 80',
      'vips4 198.51.100.1',
      'inside4 198.51.100.1 . tcp . 80 : M0',
      'refused_outside4 198.51.100.1 . tcp . 80 : goto no_local_endpoint',
    ],
  },
];

for (const { name, fields, endpoints, settings: change, servers, rows } of CASES) {
  test(name, (t) => t.deepEqual(placed(fields, endpoints, change), { servers, rows }));
}

test('masquerading and refusals are told before virtual servers change', (t) => {
  const fields: Partial<Service> = { externalIps: ips('198.51.100.1'), externalTrafficPolicy: 'Local' };
  const first = (endpoints: typeof ENDPOINTS, change: Partial<Settings> = {}): string[] => {
    const desired = compileService(service('web', fields), [slice('web', endpoints)], settings(change));
    return placeService(desired, VIEW, new Marks())
      .rows.filter(comesFirst)
      .map(({ table }) => table);
  };
  t.deepEqual(first([endpoint('10.1.0.1', { nodeName: 'node-1' })]), ['local4', 'hairpin4']);
  t.deepEqual(first([endpoint('10.1.0.2')]), ['refused_outside4']);
  t.deepEqual(first([endpoint('10.1.0.2')], { forwarding: 'dsr' }), ['refused_tunnelled4', 'refused_outside4']);
});

test('a real server may keep its connections as long as its endpoint serves anybody', (t) => {
  const ends = endpoint('10.1.0.2', { ready: false, serving: true, terminating: true, nodeName: 'node-2' });
  const change = { forwarding: 'dsr', nodeAddresses: new Set(ips('192.0.2.1', '192.0.2.2')) } as const;
  const desired = compileService(
    service('web', { externalIps: ips('198.51.100.1') }),
    [slice('web', [endpoint('10.1.0.1', { nodeName: 'node-1' }), ends])],
    settings(change),
  );
  const [outside] = placeService(desired, VIEW, new Marks()).servers;
  t.deepEqual([...(outside?.servers.keys() ?? [])], ['10.1.0.1:8080']);
  t.deepEqual([...(outside?.serving ?? [])].sort(), ['10.1.0.1:8080', '10.1.0.2:8080', '192.0.2.2:80']);
});

test('a mark stays with its name, is ours, and no two names share one', (t) => {
  const names = Array.from({ length: 5000 }, (_, i) => `inside 10.0.0.1 . tcp . ${i}`);
  const marks = new Marks();
  const given = names.map((name) => marks.of(name));
  t.is(new Set(given).size, names.length);
  t.true(given.every(isOurMark));
  t.deepEqual(
    names.map((name) => marks.of(name)),
    given,
  );
  t.false(isOurMark(FIRST_MARK - 1));
  const adopted = new Marks();
  adopted.adopt('inside x', given[0] ?? 0);
  t.is(adopted.of('inside x'), given[0] ?? 0);
  t.not(adopted.of(names[0] ?? ''), given[0] ?? 0, 'a number that is taken goes to nobody else');
});
