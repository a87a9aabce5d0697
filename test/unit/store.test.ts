import test from 'ava';
import fc from 'fast-check';
import type { DesiredService } from '../../src/core/desired.js';
import type { Change, Resource } from '../../src/core/model.js';
import { Store } from '../../src/core/store.js';
import { endpoint, ip, ips, node, service, settings, slice } from '../helpers/model.js';

const SETTINGS = settings();
const set = (...resources: Resource[]): Change[] => resources.map((resource) => ({ op: 'set', resource }));
const remove = (kind: Resource['kind'], name: string): Change[] => [
  { op: 'delete', kind, namespace: kind === 'Node' ? '' : 'shop', name },
];
const web = service('web', { clusterIps: ips('10.96.0.1') });
const api = service('api', { clusterIps: ips('10.96.0.2') });

/** A store that has compiled what it was given. */
function given(...resources: Resource[]): Store {
  const store = new Store();
  store.apply(set(...resources));
  store.take(SETTINGS);
  return store;
}

/** What each service is served at, and by whom. */
function take(store: Store): Record<string, string[]> {
  const { desired } = store.take(SETTINGS);
  return Object.fromEntries(desired.map((entry) => [entry.key, frontends(entry)]));
}

function frontends({ ports }: DesiredService): string[] {
  return ports.flatMap((port) =>
    port.frontends.map((entry) => `${entry.address} -> ${entry.outside.map(({ address }) => address).join()}`),
  );
}

test('a change of endpoints compiles their service and no other, however many there are', (t) => {
  const many = Array.from({ length: 1000 }, (_, i) =>
    service(`s${i}`, { clusterIps: [ip(`10.96.${i >> 8}.${i & 255}`)] }),
  );
  const store = given(...many, ...many.map(({ name }) => slice(name, ['10.1.0.1'])));
  store.apply(set(slice('s7', ['10.1.0.1', '10.1.0.2'])));
  t.deepEqual(take(store), { 'shop/s7': ['10.96.0.7 -> 10.1.0.1,10.1.0.2'] });
});

test('what was taken is not given again', (t) => {
  const store = given(web, slice('web', ['10.1.0.1']));
  t.deepEqual(store.take(SETTINGS), { desired: [], gone: [] });
});

test('many changes of a service compile it once', (t) => {
  const store = given(web);
  for (let i = 1; i <= 5; i++) store.apply(set(web, slice('web', [`10.1.0.${i}`])));
  t.deepEqual(take(store), { 'shop/web': ['10.96.0.1 -> 10.1.0.5'] });
});

test('endpoints that come before their service wait for it', (t) => {
  const store = given(slice('web', ['10.1.0.1']));
  store.apply(set(web));
  t.deepEqual(take(store), { 'shop/web': ['10.96.0.1 -> 10.1.0.1'] });
});

test('endpoints of a service that does not exist compile nothing', (t) => {
  const store = given(web);
  store.apply(set(slice('nobody', ['10.1.0.1'])));
  t.deepEqual(store.take(SETTINGS), { desired: [], gone: [] });
});

test('the same name in another namespace is another service', (t) => {
  const store = given(web, slice('web', ['10.1.0.1'], { namespace: 'other' }));
  store.apply(set(slice('web', ['10.1.0.2'])));
  t.deepEqual(take(store), { 'shop/web': ['10.96.0.1 -> 10.1.0.2'] });
});

test('several slices of a service add up, and one that goes takes its endpoints along', (t) => {
  const store = given(web, slice('web', ['10.1.0.1']), slice('web', ['10.1.0.2'], { name: 'web-2' }));
  store.touch('shop/web');
  t.deepEqual(take(store), { 'shop/web': ['10.96.0.1 -> 10.1.0.1,10.1.0.2'] });
  store.apply(remove('EndpointSlice', 'web-1'));
  t.deepEqual(take(store), { 'shop/web': ['10.96.0.1 -> 10.1.0.2'] });
  store.apply(remove('EndpointSlice', 'web-1'));
  t.deepEqual(take(store), {});
});

test('a slice that moves to another service leaves the first', (t) => {
  const store = given(web, api, slice('web', ['10.1.0.1']));
  store.apply(set(slice('api', ['10.1.0.1'], { name: 'web-1' })));
  t.deepEqual(take(store), { 'shop/web': ['10.96.0.1 -> '], 'shop/api': ['10.96.0.2 -> 10.1.0.1'] });
  store.apply(remove('EndpointSlice', 'web-1'));
  t.deepEqual(take(store), { 'shop/api': ['10.96.0.2 -> '] });
});

test('a service that goes is told as gone, once', (t) => {
  const store = given(web, api);
  store.apply(remove('Service', 'web'));
  t.deepEqual(store.take(SETTINGS), { desired: [], gone: ['shop/web'] });
  t.deepEqual(store.services(), ['shop/api']);
  store.apply(remove('Service', 'web'));
  t.deepEqual(store.take(SETTINGS), { desired: [], gone: [] });
});

test('a service that goes and comes back between two looks is not gone, and has its endpoints', (t) => {
  const store = given(web, slice('web', ['10.1.0.1']));
  store.apply([...remove('Service', 'web'), ...set(web)]);
  const { desired, gone } = store.take(SETTINGS);
  t.deepEqual(gone, []);
  t.deepEqual(desired.map(frontends), [['10.96.0.1 -> 10.1.0.1']]);
});

test('a service that comes and goes between two looks is gone', (t) => {
  const store = given();
  store.apply([...set(web), ...remove('Service', 'web')]);
  t.deepEqual(store.take(SETTINGS), { desired: [], gone: ['shop/web'] });
});

const claimant = (name: string, created: number, ...external: string[]): Resource =>
  service(name, { created, externalIps: ips('192.0.2.9', ...external) });

test('an address that two services claim is served for the older, and the other is told why not', (t) => {
  const store = new Store();
  store.apply(set(claimant('young', 2), claimant('old', 1)));
  const { desired } = store.take(SETTINGS);
  const byKey = new Map(desired.map((entry) => [entry.key, entry]));
  t.is(desired.length, 2);
  t.deepEqual(byKey.get('shop/old')?.problems, []);
  t.deepEqual(
    byKey.get('shop/old')?.ports.map((port) => port.frontends.length),
    [1],
  );
  t.deepEqual(
    byKey.get('shop/young')?.ports.map((port) => port.frontends.length),
    [0],
  );
  t.is(byKey.get('shop/young')?.problems.length, 1);
  t.like(byKey.get('shop/young')?.problems[0], { object: 'Service shop/young' });
  t.regex(
    byKey.get('shop/young')?.problems[0]?.message ?? '',
    /192\.0\.2\.9:80\/TCP belongs to the older Service shop\/old/,
  );
});

test('the loser of an address keeps its other addresses', (t) => {
  const store = given(claimant('old', 1));
  store.apply(set(claimant('young', 2, '192.0.2.10')));
  t.deepEqual(take(store), { 'shop/young': ['192.0.2.10 -> '] });
});

test('when the owner of an address goes, the next serves it', (t) => {
  const store = given(claimant('old', 1), claimant('young', 2));
  store.apply(remove('Service', 'old'));
  const { desired, gone } = store.take(SETTINGS);
  t.deepEqual(gone, ['shop/old']);
  t.deepEqual(desired.map(frontends), [['192.0.2.9 -> ']]);
  t.deepEqual(
    desired.flatMap(({ problems }) => problems),
    [],
  );
});

test('when an older service comes to claim an address, the younger gives it up in the same step', (t) => {
  const store = given(claimant('young', 2));
  store.apply(set(claimant('old', 1)));
  t.deepEqual(take(store), { 'shop/old': ['192.0.2.9 -> '], 'shop/young': [] });
});

test('new endpoints of the owner of a contested address do not compile the other claimant', (t) => {
  const store = given(claimant('old', 1), claimant('young', 2));
  store.apply(set(slice('old', ['10.1.0.1'])));
  t.deepEqual(take(store), { 'shop/old': ['192.0.2.9 -> 10.1.0.1'] });
});

test('a node is news when it comes, changes or goes, and not when it is told again', (t) => {
  const store = new Store();
  t.false(store.takeNodesChanged());
  store.apply(set(node('node-1', '10.0.0.1')));
  t.true(store.takeNodesChanged());
  t.false(store.takeNodesChanged());
  store.apply(set(node('node-1', '10.0.0.1')));
  t.false(store.takeNodesChanged());
  store.apply(set(node('node-1', '10.0.0.2')));
  t.true(store.takeNodesChanged());
  store.apply(remove('Node', 'node-2'));
  t.false(store.takeNodesChanged());
  store.apply(remove('Node', 'node-1'));
  t.true(store.takeNodesChanged());
  t.is(store.nodes.size, 0);
});

test('new settings compile every service again', (t) => {
  const store = given(web, api);
  store.invalidate();
  t.deepEqual(Object.keys(take(store)).sort(), ['shop/api', 'shop/web']);
});

const NAMES = ['a', 'b', 'c'];
const step: fc.Arbitrary<Change[]> = fc.oneof(
  fc
    .record({
      name: fc.constantFrom(...NAMES),
      created: fc.nat(2),
      external: fc.subarray(['192.0.2.1', '192.0.2.2', '2001:db8::9']),
    })
    .map(({ name, created, external }) => set(service(name, { created, externalIps: ips(...external) }))),
  fc
    .record({ of: fc.constantFrom(...NAMES), name: fc.constantFrom(...NAMES), last: fc.subarray([1, 2, 3]) })
    .map(({ of, name, last }) =>
      set(
        slice(
          of,
          last.map((n) => endpoint(`10.1.0.${n}`)),
          { name },
        ),
      ),
    ),
  fc.constantFrom(...NAMES).map((name) => remove('Service', name)),
  fc.constantFrom(...NAMES).map((name) => remove('EndpointSlice', name)),
);

test('following changes one by one ends where reading everything at once does', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const store = new Store();
      const followed = new Map<string, DesiredService>();
      const objects = new Map<string, Resource>();
      for (const changes of steps) {
        store.apply(changes);
        const { desired, gone } = store.take(SETTINGS);
        for (const entry of desired) followed.set(entry.key, entry);
        for (const key of gone) followed.delete(key);
        for (const change of changes) {
          if (change.op === 'set') objects.set(`${change.resource.kind} ${change.resource.name}`, change.resource);
          else objects.delete(`${change.kind} ${change.name}`);
        }
      }
      const fresh = new Store();
      fresh.apply(set(...objects.values()));
      const { desired } = fresh.take(SETTINGS);
      const served = (list: Iterable<DesiredService>): object =>
        Object.fromEntries(Array.from(list, ({ key, ports, problems }) => [key, { ports, problems: problems.length }]));
      t.deepEqual(served(followed.values()), served(desired));
    }),
    { numRuns: 200 },
  );
});
