/** semantics of kube-proxy: which endpoints take traffic. Conditions that are absent are filled in by the reader (objects.test.ts). */
import test from 'ava';
import fc from 'fast-check';
import { candidates, usableEndpoints } from '../../src/core/endpoints.js';
import type { Endpoint, EndpointSlice } from '../../src/core/model.js';
import { endpoint, HTTP, slice } from '../helpers/model.js';

const FAMILIES = [
  { family: 'v4', at: (n: number) => `10.1.0.${n}` },
  { family: 'v6', at: (n: number) => `2001:db8::${n}` },
] as const;

const PLACE = { nodeName: 'node-1', zone: 'a' };
const READY = { ready: true, serving: true, terminating: false };
const STARTING = { ready: false, serving: false, terminating: false };
/** Ready once, failing its probe now: serves nobody. */
const FAILING = { ready: false, serving: false, terminating: false };
const ENDING = { ready: false, serving: true, terminating: true };
const ENDED = { ready: false, serving: false, terminating: true };
const UNREADY_SERVING = { ready: false, serving: true, terminating: false };
const HERE = { nodeName: 'node-1' };
const THERE = { nodeName: 'node-2' };
const NOWHERE = { nodeName: '' };

interface Row {
  readonly name: string;
  /** Endpoint 1, 2, ... */
  readonly endpoints: readonly Partial<Endpoint>[];
  readonly cluster: readonly number[];
  readonly local: readonly number[];
}

const CONDITIONS: readonly Row[] = [
  { name: 'no endpoint', endpoints: [], cluster: [], local: [] },
  {
    name: 'ready ones, wherever they are',
    endpoints: [
      { ...READY, ...HERE },
      { ...READY, ...THERE },
    ],
    cluster: [1, 2],
    local: [1],
  },
  { name: 'one of an unknown node is remote', endpoints: [{ ...READY, ...NOWHERE }], cluster: [1], local: [] },
  {
    name: 'one that starts takes nothing',
    endpoints: [
      { ...STARTING, ...HERE },
      { ...READY, ...HERE },
    ],
    cluster: [2],
    local: [2],
  },
  {
    name: 'only such as start or fail: nobody',
    endpoints: [
      { ...STARTING, ...HERE },
      { ...FAILING, ...THERE },
    ],
    cluster: [],
    local: [],
  },
  {
    name: 'an ending one takes nothing beside a ready one',
    endpoints: [
      { ...ENDING, ...HERE },
      { ...READY, ...HERE },
    ],
    cluster: [2],
    local: [2],
  },
  {
    name: 'only ending ones that still serve: they take it',
    endpoints: [
      { ...ENDING, ...HERE },
      { ...ENDING, ...THERE },
    ],
    cluster: [1, 2],
    local: [1],
  },
  {
    name: 'only ended ones: nobody',
    endpoints: [
      { ...ENDED, ...HERE },
      { ...ENDED, ...THERE },
    ],
    cluster: [],
    local: [],
  },
  {
    name: 'an ended one beside an ending one',
    endpoints: [
      { ...ENDED, ...HERE },
      { ...ENDING, ...HERE },
    ],
    cluster: [2],
    local: [2],
  },
  {
    name: 'ending here, ready there: Local falls back on its own',
    endpoints: [
      { ...ENDING, ...HERE },
      { ...READY, ...THERE },
    ],
    cluster: [2],
    local: [1],
  },
  {
    name: 'ready here, ending there: Cluster does not fall back',
    endpoints: [
      { ...READY, ...HERE },
      { ...ENDING, ...THERE },
    ],
    cluster: [1],
    local: [1],
  },
  {
    name: 'ended here, ready there: Local has nobody',
    endpoints: [
      { ...ENDED, ...HERE },
      { ...READY, ...THERE },
    ],
    cluster: [2],
    local: [],
  },
  { name: 'ending there only: Local has nobody', endpoints: [{ ...ENDING, ...THERE }], cluster: [1], local: [] },
  {
    name: 'serving but not ready and not ending is no fallback',
    endpoints: [{ ...UNREADY_SERVING, ...HERE }],
    cluster: [],
    local: [],
  },
  {
    name: 'published as ready while it ends (publishNotReadyAddresses)',
    endpoints: [{ ready: true, serving: true, terminating: true, ...HERE }],
    cluster: [1],
    local: [1],
  },
];

const zones = (...names: string[]): Partial<Endpoint> => ({ zoneHints: names });
const nodes = (...names: string[]): Partial<Endpoint> => ({ nodeHints: names });

const HINTS: readonly Row[] = [
  { name: 'zone hints that some endpoint has for here', endpoints: [zones('a'), zones('b')], cluster: [1], local: [] },
  {
    name: 'several zones in one hint',
    endpoints: [zones('b', 'a'), zones('b'), zones('a')],
    cluster: [1, 3],
    local: [],
  },
  {
    name: 'one endpoint without a zone hint: all hints are passed over',
    endpoints: [zones('a'), zones('b'), {}],
    cluster: [1, 2, 3],
    local: [],
  },
  {
    name: 'no zone hint for here: all hints are passed over',
    endpoints: [zones('b'), zones('c')],
    cluster: [1, 2],
    local: [],
  },
  {
    name: 'node hints that some endpoint has for here',
    endpoints: [nodes('node-1'), nodes('node-2')],
    cluster: [1],
    local: [],
  },
  {
    name: 'one endpoint without a node hint: none counts',
    endpoints: [nodes('node-1'), {}],
    cluster: [1, 2],
    local: [],
  },
  {
    name: 'node hints come before zone hints',
    endpoints: [
      { ...nodes('node-1'), ...zones('b') },
      { ...nodes('node-2'), ...zones('a') },
    ],
    cluster: [1],
    local: [],
  },
  {
    name: 'no node hint for here: zone hints count',
    endpoints: [
      { ...nodes('node-3'), ...zones('b') },
      { ...nodes('node-2'), ...zones('a') },
    ],
    cluster: [2],
    local: [],
  },
  {
    name: 'an endpoint that is not ready needs no hint',
    endpoints: [zones('a'), zones('b'), { ...STARTING }, { ...ENDING }],
    cluster: [1],
    local: [],
  },
  {
    name: 'a hinted endpoint that is not ready takes nothing',
    endpoints: [{ ...STARTING, ...zones('a') }, zones('b')],
    cluster: [2],
    local: [],
  },
  {
    name: 'ending endpoints are taken whatever their hints',
    endpoints: [
      { ...ENDING, ...zones('a') },
      { ...ENDING, ...zones('b') },
    ],
    cluster: [1, 2],
    local: [],
  },
  {
    name: 'Local passes hints over',
    endpoints: [
      { ...HERE, ...zones('b') },
      { ...THERE, ...zones('a') },
    ],
    cluster: [2],
    local: [1],
  },
];

for (const { family, at } of FAMILIES) {
  const numbers = new Map(Array.from({ length: 9 }, (_, i) => [at(i + 1), i + 1]));
  for (const { name, endpoints, cluster, local } of [...CONDITIONS, ...HINTS]) {
    test(`who takes traffic (${family}): ${name}`, (t) => {
      const slices = [
        slice(
          'web',
          endpoints.map((fields, i) => endpoint(at(i + 1), fields)),
        ),
      ];
      const usable = usableEndpoints(candidates(slices, HTTP, family), PLACE);
      t.deepEqual(
        usable.cluster.map(({ address }) => numbers.get(address)),
        [...cluster],
      );
      t.deepEqual(
        usable.local.map(({ address }) => numbers.get(address)),
        [...local],
      );
    });
  }

  test(`an endpoint that two slices name is one (${family})`, (t) => {
    const slices = [slice('web', [at(1), at(2)]), slice('web', [at(2), at(3)], { name: 'web-2' })];
    t.deepEqual(
      candidates(slices, HTTP, family).map(({ address }) => numbers.get(address)),
      [1, 2, 3],
    );
  });
}

test('of an endpoint that two slices name in different states the better state counts, whatever the order', (t) => {
  const better = [READY, ENDING, ENDED];
  for (const [i, good] of better.entries()) {
    for (const bad of better.slice(i + 1)) {
      const slices = [
        slice('web', [endpoint('10.1.0.1', good)]),
        slice('web', [endpoint('10.1.0.1', bad)], { name: 'web-2' }),
      ];
      for (const order of [slices, slices.toReversed()]) t.like(candidates(order, HTTP, 'v4'), { length: 1, 0: good });
    }
  }
});

test('the same address with another port is another endpoint', (t) => {
  const slices = [
    slice('web', ['10.1.0.1']),
    slice('web', ['10.1.0.1'], { name: 'web-2', ports: [{ name: '', protocol: 'TCP', port: 8081 }] }),
  ];
  t.deepEqual(
    candidates(slices, HTTP, 'v4').map(({ port }) => port),
    [8080, 8081],
  );
});

test('the endpoints of a port are those of the slice port with its name and protocol', (t) => {
  const ports: EndpointSlice['ports'] = [
    { name: 'http', protocol: 'TCP', port: 8080 },
    { name: 'dns', protocol: 'UDP', port: 5353 },
    { name: 'quic', protocol: 'TCP', port: 8443 },
  ];
  const found = (name: string, protocol: 'TCP' | 'UDP'): number[] =>
    candidates([slice('web', ['10.1.0.1'], { ports })], { ...HTTP, name, protocol }, 'v4').map(({ port }) => port);
  t.deepEqual(found('http', 'TCP'), [8080]);
  t.deepEqual(found('dns', 'UDP'), [5353]);
  t.deepEqual(found('quic', 'UDP'), []);
  t.deepEqual(found('', 'TCP'), []);
});

test('an endpoint that serves without being ready keeps its backend entry, one that serves nobody has none', (t) => {
  const states = [READY, ENDING, UNREADY_SERVING, ENDED, STARTING];
  const slices = [
    slice(
      'web',
      states.map((state, i) => endpoint(`10.1.0.${i + 1}`, state)),
    ),
  ];
  const { all } = usableEndpoints(candidates(slices, HTTP, 'v4'), PLACE);
  t.deepEqual(
    all.map(({ address }) => address as string),
    ['10.1.0.1', '10.1.0.2', '10.1.0.3'],
  );
});

test('without a name of this node or zone no hint counts and nothing is local', (t) => {
  const slices = [
    slice('web', [
      endpoint('10.1.0.1', { ...NOWHERE, ...zones(''), ...nodes('') }),
      endpoint('10.1.0.2', { ...zones('a'), ...nodes('node-1') }),
    ]),
  ];
  const usable = usableEndpoints(candidates(slices, HTTP, 'v4'), { nodeName: '', zone: '' });
  t.is(usable.cluster.length, 2);
  t.is(usable.local.length, 0);
});

const anyEndpoint = fc.record({
  last: fc.integer({ min: 1, max: 30 }),
  ready: fc.boolean(),
  serving: fc.boolean(),
  terminating: fc.boolean(),
  nodeName: fc.constantFrom('', 'node-1', 'node-2'),
  zoneHints: fc.subarray(['a', 'b']),
  nodeHints: fc.subarray(['node-1', 'node-2']),
});

test('however endpoints are spread over slices, every node finds them in the same order', (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(anyEndpoint, { selector: ({ last }) => last }),
      fc.integer({ min: 1, max: 4 }),
      (list, parts) => {
        const endpoints = list.map(({ last, ...fields }) => endpoint(`10.1.0.${last}`, fields));
        const split = Array.from({ length: parts }, (_, p) =>
          slice(
            'web',
            endpoints.filter((__, i) => i % parts === p),
            { name: `web-${p}` },
          ),
        );
        t.deepEqual(candidates(split.toReversed(), HTTP, 'v4'), candidates([slice('web', endpoints)], HTTP, 'v4'));
      },
    ),
  );
});

test('whoever takes traffic is in the table of backends', (t) => {
  fc.assert(
    fc.property(fc.uniqueArray(anyEndpoint, { selector: ({ last }) => last }), (list) => {
      const endpoints = list.map(({ last, ...fields }) => endpoint(`10.1.0.${last}`, fields));
      const usable = usableEndpoints(candidates([slice('web', endpoints)], HTTP, 'v4'), PLACE);
      for (const taker of [...usable.cluster, ...usable.local]) t.true(usable.all.includes(taker));
      t.true(usable.local.every(({ nodeName }) => nodeName === 'node-1'));
    }),
  );
});

test('backends stand in the order of their addresses as numbers, then of their ports', (t) => {
  const slices = [slice('web', ['10.1.0.10', '10.1.0.9', '9.255.0.1', '100.0.0.1'])];
  t.deepEqual(
    candidates(slices, HTTP, 'v4').map(({ address }) => address as string),
    ['9.255.0.1', '10.1.0.9', '10.1.0.10', '100.0.0.1'],
  );
});
