import test from 'ava';
import { compileService, type Settings } from '../../src/core/desired.js';
import { maglevSize } from '../../src/core/maglev.js';
import type { EndpointSlice, Service } from '../../src/core/model.js';
import type { Row } from '../../src/core/plan.js';
import { u32Codec } from '../../src/maps/codec.js';
import {
  ANY_NODE,
  encodeService,
  type Numbering,
  RANKS,
  type SelectionPlace,
  slotsRow,
  wordsOf,
} from '../../src/maps/encode.js';
import {
  BACKEND_FLAG,
  BACKEND_STATE,
  decodeBackend,
  decodeFrontend,
  decodeFrontendKey,
  decodeLocalBackend,
  decodeLocalKey,
  type Frontend,
  FORWARDING,
  FRONTEND_KIND,
  MAPS,
  SCHEDULER,
  FRONTEND_FLAG,
} from '../../src/maps/layout.js';
import { endpoint, HTTP, ip, ips, service, settings, slice } from '../helpers/model.js';

/** Numbers in the order of asking: names from 1, backends from 101, chunks from 1000. */
class Counting implements Numbering {
  readonly names: string[] = [];
  readonly backends: string[] = [];
  readonly ranges: Uint32Array[] = [];

  nameId(text: string): number {
    if (!this.names.includes(text)) this.names.push(text);
    return this.names.indexOf(text) + 1;
  }

  backendId(owner: number, { address, port }: { address: string; port: number }): number {
    return 100 + this.backends.push(`${owner} ${address} ${port}`);
  }

  chunk(_place: SelectionPlace, words: Uint32Array): number {
    return 999 + this.ranges.push(words);
  }
}

interface Encoded {
  readonly numbering: Counting;
  readonly rows: readonly Row[];
  readonly frontend: (address: string) => Frontend;
  readonly of: (table: string) => { key: Buffer; value: Buffer }[];
}

function encode(fields: Partial<Service>, slices: readonly EndpointSlice[], change: Partial<Settings> = {}): Encoded {
  const numbering = new Counting();
  const rows = encodeService(compileService(service('web', fields), slices, settings(change)), numbering);
  const of: Encoded['of'] = (table) =>
    rows
      .filter((row) => row.table === table)
      .map(({ key, value }) => ({ key: Buffer.from(key, 'latin1'), value: Buffer.from(value, 'latin1') }));
  const frontend: Encoded['frontend'] = (address) => {
    const found = of('weir_frontends').find(({ key }) => decodeFrontendKey(key).address === ip(address));
    if (!found) throw new Error(`no frontend ${address}`);
    return decodeFrontend(found.value);
  };
  return { numbering, rows, of, frontend };
}

const FAMILIES = [
  { family: 'v4', vip: '192.0.2.9', other: '192.0.2.10', cluster: '10.96.0.1', local: '10.1.0.1', remote: '10.1.0.2' },
  {
    family: 'v6',
    vip: '2001:db8::9',
    other: '2001:db8::a',
    cluster: 'fd00::1',
    local: '2001:db8:1::1',
    remote: '2001:db8:1::2',
  },
] as const;

for (const { family, vip, other, cluster, local, remote } of FAMILIES) {
  const BOTH = [slice('web', [endpoint(local, { nodeName: 'node-1' }), remote])];

  test(`a frontend is keyed by address, port and protocol (${family})`, (t) => {
    const { of } = encode({ externalIps: ips(vip), ports: [{ ...HTTP, protocol: 'UDP' }] }, []);
    t.deepEqual(
      of('weir_frontends').map(({ key }) => decodeFrontendKey(key)),
      [{ address: ip(vip), port: 80, protocol: 17 }],
    );
  });

  test(`a backend says what it is, whose it is and where (${family})`, (t) => {
    const { of, numbering } = encode({ externalIps: ips(vip) }, BOTH);
    const backends = of('weir_backends').map(({ key, value }) => ({
      id: u32Codec.decode(key, 0),
      ...decodeBackend(value),
    }));
    const name = (id: number): string | undefined => numbering.names[id - 1];
    t.like(backends[0], {
      id: 101,
      address: ip(local),
      port: 8080,
      protocol: 6,
      state: BACKEND_STATE.ACTIVE,
      weight: 1,
      flags: BACKEND_FLAG.LOCAL,
    });
    t.like(backends[1], { id: 102, address: ip(remote), flags: 0 });
    t.deepEqual(
      backends.map(({ service: owner, node }) => [name(owner), name(node)]),
      [
        ['Service shop/web:80', 'Node node-1'],
        ['Service shop/web:80', 'Node node-2'],
      ],
    );
  });

  test(`only a backend on this node is found by address and service (${family})`, (t) => {
    const { of } = encode({ externalIps: ips(vip) }, BOTH);
    const entries = of('weir_local').map(({ key, value }) => ({
      ...decodeLocalKey(key),
      ...decodeLocalBackend(value),
    }));
    t.deepEqual(entries, [{ address: ip(local), service: 1, backend: 101, port: 8080 }]);
  });

  test(`a backend with the node's own address is marked, one that ends is marked, one of an unknown node has no node (${family})`, (t) => {
    const own = [
      endpoint(local, { nodeName: 'node-1' }),
      endpoint(remote, { nodeName: '', ready: false, serving: true, terminating: true }),
    ];
    const { of } = encode({ externalIps: ips(vip) }, [slice('web', own)], { nodeAddresses: new Set(ips(local)) });
    const [first, second] = of('weir_backends').map(({ value }) => decodeBackend(value));
    t.is(first?.flags, BACKEND_FLAG.LOCAL | BACKEND_FLAG.HOST);
    t.like(second, { state: BACKEND_STATE.TERMINATING, node: 0, flags: 0 });
  });

  test(`a hashed table is shared by all frontends with the same backends (${family})`, (t) => {
    const { frontend, numbering, of } = encode({ clusterIps: ips(cluster), externalIps: ips(vip, other) }, BOTH);
    t.is(numbering.ranges.length, 1);
    t.is(of('slots').length, 1);
    const selection = { chunk: 1000, size: maglevSize(2), backends: 2 };
    for (const address of [cluster, vip, other])
      t.like(frontend(address), { outside: selection, inside: selection, scheduler: SCHEDULER.MAGLEV });
    t.deepEqual([...new Set(numbering.ranges[0])].sort(), [101, 102]);
  });

  test(`every frontend has a rotation of its own, which begins with its counter (${family})`, (t) => {
    const { frontend, numbering } = encode(
      { externalIps: ips(vip, other), annotations: { 'weir.io/scheduler': 'rr' } },
      BOTH,
    );
    t.deepEqual(
      numbering.ranges.map((words) => [...words]),
      [
        [0, 101, 102],
        [0, 101, 102],
      ],
    );
    t.like(frontend(vip), {
      scheduler: SCHEDULER.RR,
      outside: { chunk: 1000, size: 2, backends: 2 },
      inside: { chunk: 1000, size: 2, backends: 2 },
    });
    t.is(frontend(other).outside.chunk, 1001);
  });

  test(`lc has a list of backends with their weights, beside the place of the next (${family})`, (t) => {
    const weights = `${remote}=3`;
    const annotations = { 'weir.io/scheduler': 'lc', 'weir.io/weights': weights };
    const { frontend, numbering } = encode({ externalIps: ips(vip), annotations }, BOTH);
    const ids = numbering.ranges.map((words) => [...words]);
    t.is(ids.length, 1, 'both sides have the same');
    t.is(ids[0]?.length, 6);
    t.deepEqual(ids[0]?.slice(0, 2), [0, 0]);
    t.deepEqual([ids[0]?.[3], ids[0]?.[5]].sort(), [1, 3]);
    t.like(frontend(vip), { scheduler: SCHEDULER.LC, outside: { size: 2, backends: 2 } });
  });

  test(`sh and dh have the tables of maglev (${family})`, (t) => {
    const of = (scheduler: string) =>
      encode({ externalIps: ips(vip), annotations: { 'weir.io/scheduler': scheduler } }, BOTH).numbering.ranges[0];
    t.deepEqual(of('sh'), of('maglev'));
    t.deepEqual(of('dh'), of('maglev'));
  });

  test(`session affinity appends the members in ascending order (${family})`, (t) => {
    for (const scheduler of ['maglev', 'sh', 'dh', 'rr', 'random', 'lc']) {
      const annotations = { 'weir.io/scheduler': scheduler };
      const { frontend, numbering } = encode({ externalIps: ips(vip), annotations, affinity: 30 }, BOTH);
      const plain = encode({ externalIps: ips(vip), annotations }, BOTH).numbering.ranges[0];
      t.deepEqual([...(numbering.ranges[0] ?? [])], [...(plain ?? []), 101, 102], scheduler);
      t.is(frontend(vip).affinity, 30);
      const { outside } = frontend(vip);
      t.is(wordsOf(frontend(vip), outside), numbering.ranges[0]!.length);
    }
  });

  test(`policy Local gives clients out there another table than clients on this node (${family})`, (t) => {
    const { frontend, numbering } = encode({ externalIps: ips(vip), externalTrafficPolicy: 'Local' }, BOTH);
    t.deepEqual(
      numbering.ranges.map((words) => [...new Set(words)].sort()),
      [[101], [101, 102]],
    );
    t.like(frontend(vip), { outside: { chunk: 1000, backends: 1 }, inside: { chunk: 1001, backends: 2 } });
  });

  test(`nobody to choose from is no table, and says whether somebody exists (${family})`, (t) => {
    const none = { chunk: 0, size: 0, backends: 0 };
    const elsewhere = encode({ externalIps: ips(vip), externalTrafficPolicy: 'Local' }, [slice('web', [remote])]);
    t.deepEqual(elsewhere.frontend(vip).outside, none);
    t.is(elsewhere.frontend(vip).flags, FRONTEND_FLAG.EXISTS);
    const nowhere = encode({ externalIps: ips(vip) }, []);
    t.like(nowhere.frontend(vip), { outside: none, inside: none, flags: 0 });
    t.is(nowhere.of('slots').length, 0);
  });

  test(`by DSR a node also chooses among its own active backends alone, for tunnels that name it (${family})`, (t) => {
    const ending = endpoint(vip, { nodeName: 'node-1', ready: false, serving: true, terminating: true });
    const backends = [slice('web', [endpoint(local, { nodeName: 'node-1' }), remote, ending])];
    const dsr = { 'weir.io/forwarding': 'dsr' };
    const { frontend, numbering } = encode({ externalIps: ips(other), annotations: dsr }, backends);
    const { tunnelled } = frontend(other);
    t.is(tunnelled.backends, 1);
    const chosen = [...new Set(numbering.ranges[tunnelled.chunk - 1000])].map((id) => numbering.backends[id - 101]);
    t.deepEqual(chosen, [`1 ${ip(local)} 8080`]);
    const none = { chunk: 0, size: 0, backends: 0 };
    t.deepEqual(encode({ externalIps: ips(other) }, backends).frontend(other).tunnelled, none);
    const elsewhere = encode({ externalIps: ips(other), annotations: dsr }, [slice('web', [remote])]);
    t.deepEqual(elsewhere.frontend(other).tunnelled, none);
  });

  test(`a node port also stands under no address, for tunnelled packets to any node's and for loopback (${family})`, (t) => {
    const fields = { ports: [{ ...HTTP, nodePort: 30080 }], annotations: { 'weir.io/forwarding': 'dsr' } };
    const { of } = encode(fields, BOTH, { nodePortAddresses: ips(vip) });
    const keys = of('weir_frontends').map(({ key }) => decodeFrontendKey(key));
    t.deepEqual(
      keys.map(({ address, port }) => [address, port]),
      [
        [ip(vip), 30080],
        [ANY_NODE[family], 30080],
      ],
    );
    const [own, any] = of('weir_frontends').map(({ value }) => decodeFrontend(value));
    t.like(any, { kind: FRONTEND_KIND.NODE_PORT, forwarding: FORWARDING.DSR, outside: { chunk: 0, size: 0 } });
    t.true((own?.inside.size ?? 0) > 0);
    t.deepEqual(any?.inside, own?.inside, 'for those on this node it is the same');
    t.is(encode({ ...fields, annotations: {} }, BOTH, { nodePortAddresses: ips(vip) }).of('weir_frontends').length, 2);
  });
}

test('the kinds of frontends are told apart', (t) => {
  const fields = {
    clusterIps: ips('10.96.0.1'),
    externalIps: ips('192.0.2.9'),
    loadBalancerIps: ips('192.0.2.10'),
    ports: [{ ...HTTP, nodePort: 30080 }],
  };
  const { frontend } = encode(fields, [], { nodePortAddresses: ips('192.0.2.1') });
  t.is(frontend('10.96.0.1').kind, FRONTEND_KIND.CLUSTER_IP);
  t.is(frontend('192.0.2.9').kind, FRONTEND_KIND.EXTERNAL_IP);
  t.is(frontend('192.0.2.10').kind, FRONTEND_KIND.LOAD_BALANCER);
  t.is(frontend('192.0.2.1').kind, FRONTEND_KIND.NODE_PORT);
});

test('every port of a service has a name and backends of its own', (t) => {
  const ports = [
    { ...HTTP, name: 'http' },
    { ...HTTP, name: 'metrics', port: 9090 },
  ];
  const target = [
    { name: 'http', protocol: 'TCP', port: 8080 },
    { name: 'metrics', protocol: 'TCP', port: 8080 },
  ] as const;
  const { numbering, of } = encode({ externalIps: ips('192.0.2.9'), ports }, [
    slice('web', ['10.1.0.1'], { ports: target }),
  ]);
  t.deepEqual(
    numbering.names.filter((name) => name.startsWith('Service')),
    ['Service shop/web:http', 'Service shop/web:metrics'],
  );
  t.is(new Set(of('weir_backends').map(({ value }) => decodeBackend(value).service)).size, 2);
  t.is(of('slots').length, 2);
});

test('a port that is served nowhere takes no number', (t) => {
  const { numbering, rows } = encode({}, [slice('web', ['10.1.0.1'])]);
  t.deepEqual(rows, []);
  t.deepEqual(numbering.names, []);
});

test('the table of two nodes is the same, though their numbers differ', (t) => {
  const slices = [slice('web', ['10.1.0.1', '10.1.0.2', '10.1.0.3'])];
  const tables = ['node-1', 'node-2'].map((nodeName) => {
    const { numbering } = encode({ externalIps: ips('192.0.2.9') }, slices, { nodeName });
    return Array.from(numbering.ranges[0] ?? [], (id) => numbering.backends[id - 101]);
  });
  t.deepEqual(tables[0], tables[1]);
});

test('rows are keyed and valued in exactly the bytes of the maps', (t) => {
  const { rows } = encode({ externalIps: ips('192.0.2.9') }, [
    slice('web', [endpoint('10.1.0.1', { nodeName: 'node-1' })]),
  ]);
  t.deepEqual([...new Set(rows.map(({ table }) => table))].sort(), [
    'slots',
    'weir_backends',
    'weir_frontends',
    'weir_local',
    'weir_names',
    'weir_vips',
  ]);
  for (const { table, key, value } of rows) {
    if (table === 'slots') continue;
    const { keySize, valueSize } = MAPS[table as 'weir_names'];
    t.is(key.length, keySize, table);
    t.is(value.length, valueSize, table);
  }
});

test('what is named ranks before what names it', (t) => {
  const order: (keyof typeof RANKS)[] = ['weir_names', 'weir_backends', 'weir_local', 'slots', 'weir_frontends'];
  t.deepEqual(
    order.toSorted((a, b) => RANKS[a] - RANKS[b]),
    order,
  );
  t.is(new Set(order.map((table) => RANKS[table])).size, order.length);
});

test('a range takes words more for a counter, for weights, and for the members that affinity asks for', (t) => {
  const words = (scheduler: number, size: number, affinity = 0): number =>
    wordsOf({ scheduler, affinity }, { size, backends: 3 });
  t.is(words(SCHEDULER.MAGLEV, 1021), 1021);
  t.is(words(SCHEDULER.SH, 1021), 1021);
  t.is(words(SCHEDULER.RR, 7), 8);
  t.is(words(SCHEDULER.RANDOM, 3), 4);
  t.is(words(SCHEDULER.LC, 3), 8);
  t.is(words(SCHEDULER.LC, 3, 10), 11);
  t.deepEqual(slotsRow(7, 251), { table: 'slots', key: '\x07\0\0\0', value: '\xfb\0\0\0' });
});

test('a service of 10,000 endpoints fits into the arena', (t) => {
  const endpoints = Array.from({ length: 10_000 }, (_, i) => `10.${1 + (i >> 14)}.${(i >> 7) & 127}.${1 + (i & 127)}`);
  const { numbering, frontend } = encode({ externalIps: ips('192.0.2.9') }, [slice('web', endpoints)]);
  t.is(frontend('192.0.2.9').outside.backends, 10_000);
  t.is(new Set(numbering.ranges[0]).size, 10_000);
});
