/**
 * The order of writes, against the kernel's own tables: whatever changes, no packet meets half a service after any single
 * write, and whoever comes after a crash finds what it needs to go on.
 */
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import type { DesiredService } from '../../src/core/desired.js';
import type { Change, Resource } from '../../src/core/model.js';
import type { Write } from '../../src/core/plan.js';
import { familyOf } from '../../src/core/net.js';
import { Store } from '../../src/core/store.js';
import { openDataplane } from '../../src/loader/dataplane.js';
import { ANY_NODE } from '../../src/maps/encode.js';
import { KernelTables } from '../../src/maps/kernel-tables.js';
import {
  type Backend,
  decodeBackend,
  decodeFrontend,
  decodeFrontendKey,
  decodeLocalBackend,
  MAPS,
  SCHEDULER,
  type Selection,
} from '../../src/maps/layout.js';
import { ServiceTables } from '../../src/maps/services.js';
import { openTable } from '../../src/maps/table.js';
import { endpoint, HTTP, ip, ips, service, settings, slice } from '../helpers/model.js';
import { bpffs } from './loader-world.js';

const SETTINGS = settings();
const DRAIN = 1500;

/** Kernel tables that look after every single write, and may fail before one of them. */
class WatchedTables extends KernelTables {
  afterEach: (write: Write) => void = () => undefined;
  writesLeft = Infinity;

  override apply(writes: readonly Write[], fresh: ReadonlyMap<number, Uint32Array>, now: number): void {
    for (const write of writes) {
      if (this.writesLeft-- <= 0) throw new Error('power cut');
      super.apply([write], fresh, now);
      this.afterEach(write);
    }
  }
}

interface Served {
  readonly names: ReadonlyMap<number, string>;
  readonly backends: ReadonlyMap<number, Backend>;
}

function idOf(key: string): number {
  return Buffer.from(key, 'latin1').readUInt32LE(0);
}

function readNames({
  read,
}: {
  read: (table: 'weir_names' | 'weir_backends') => Iterable<{ key: string; value: string }>;
}): Served {
  const decoded = <T>(table: 'weir_names' | 'weir_backends', decode: (value: Buffer) => T): Map<number, T> =>
    new Map([...read(table)].map(({ key, value }) => [idOf(key), decode(Buffer.from(value, 'latin1'))]));
  return {
    names: decoded('weir_names', (value) => MAPS.weir_names.value.decode(value, 0).text),
    backends: decoded('weir_backends', decodeBackend),
  };
}

/** Addresses that a selection names, each once; throws where it names what is not there. */
function selected(
  tables: KernelTables,
  served: Served,
  scheduler: number,
  selection: Selection,
  owner: number,
): string[] {
  const { chunk, size, backends } = selection;
  if (chunk === 0) {
    if (size !== 0 || backends !== 0) throw new Error(`no slots, but ${size} of them for ${backends} backends`);
    return [];
  }
  const rotates = scheduler !== SCHEDULER.MAGLEV;
  const ids = new Set(tables.arena.read(chunk, size + (rotates ? 1 : 0)).subarray(rotates ? 1 : 0));
  if (ids.size !== backends) throw new Error(`${ids.size} backends in the slots where the frontend has ${backends}`);
  return Array.from(ids, (id) => {
    const backend = served.backends.get(id);
    if (!backend) throw new Error(`a slot names backend ${id}, which does not exist`);
    if (backend.service !== owner) throw new Error(`a slot of service ${owner} names a backend of ${backend.service}`);
    return `${backend.address}:${backend.port}`;
  }).sort();
}

/** What the kernel serves, by frontend. Throws where a packet would meet half a service. */
function whatIsServed(tables: KernelTables): Record<string, string> {
  const served = readNames({ read: (table) => tables.read(table) });
  const found: Record<string, string> = {};
  for (const { key, value } of tables.read('weir_frontends')) {
    const { address, port, protocol } = decodeFrontendKey(Buffer.from(key, 'latin1'));
    const frontend = decodeFrontend(Buffer.from(value, 'latin1'));
    const name = served.names.get(frontend.service);
    if (name === undefined)
      throw new Error(`frontend ${address}:${port} names service ${frontend.service}, which has no name`);
    const list = (selection: Selection): string =>
      selected(tables, served, frontend.scheduler, selection, frontend.service).join();
    found[`${address} ${port}/${protocol}`] =
      `${name} ${frontend.scheduler} ${list(frontend.outside)} | ${list(frontend.inside)}`;
  }
  for (const { service: owner, node, address } of served.backends.values()) {
    if (!served.names.has(owner)) throw new Error(`backend ${address} names service ${owner}, which has no name`);
    if (node !== 0 && !served.names.has(node))
      throw new Error(`backend ${address} names node ${node}, which has no name`);
  }
  for (const { value } of tables.read('weir_local')) {
    const { backend } = decodeLocalBackend(Buffer.from(value, 'latin1'));
    if (!served.backends.has(backend)) throw new Error(`a local entry names backend ${backend}, which does not exist`);
  }
  return found;
}

/** The same, as it should be. */
function whatShouldBe(desired: readonly DesiredService[]): Record<string, string> {
  const found: Record<string, string> = {};
  const numbers = { TCP: 6, UDP: 17, SCTP: 132 };
  for (const port of desired.flatMap(({ ports }) => ports)) {
    for (const { address, port: number, protocol, scheduler, outside, inside, kind } of port.frontends) {
      const list = (backends: typeof outside): string =>
        backends
          .map((backend) => `${backend.address}:${backend.port}`)
          .sort()
          .join();
      const chosen = `${port.label} ${SCHEDULER[scheduler.toUpperCase() as 'MAGLEV']}`;
      found[`${address} ${number}/${numbers[protocol]}`] = `${chosen} ${list(outside)} | ${list(inside)}`;
      if (kind !== 'NodePort') continue;
      const anyNode = ANY_NODE[familyOf(address)];
      found[`${anyNode} ${number}/${numbers[protocol]}`] = `${chosen}  | ${list(inside)}`;
    }
  }
  return found;
}

class Cluster {
  readonly root: string;
  readonly t: ExecutionContext;
  readonly objects = new Map<string, Resource>();
  store = new Store();
  tables: WatchedTables;
  services: ServiceTables;
  now = 0;
  checks = 0;

  constructor(t: ExecutionContext) {
    this.t = t;
    this.root = bpffs(t);
    const dataplane = openDataplane({
      objectPath: 'bpf/build/weir.bpf.o',
      bpfRoot: this.root,
      flowEntries: { v4: 1024, v6: 1024 },
    });
    t.teardown(() => dataplane[Symbol.dispose]());
    this.tables = this.open();
    this.services = this.adopt();
    t.teardown(() => this.tables[Symbol.dispose]());
  }

  open(): WatchedTables {
    const tables = new WatchedTables(this.root);
    tables.afterEach = (write) => {
      this.checks++;
      try {
        whatIsServed(tables);
      } catch (error) {
        throw new Error(`after ${write.op} in ${write.row.table}: ${String(error)}`, { cause: error });
      }
    };
    return tables;
  }

  adopt(): ServiceTables {
    return new ServiceTables(this.tables, { drain: DRAIN, clock: () => this.now });
  }

  /** One step of the agent. Returns how many entries were written. */
  change(changes: readonly Change[]): number {
    for (const change of changes) {
      if (change.op === 'set') this.objects.set(`${change.resource.kind} ${change.resource.name}`, change.resource);
      else this.objects.delete(`${change.kind} ${change.name}`);
    }
    this.store.apply(changes);
    for (const key of this.services.drained()) this.store.touch(key);
    const { desired, gone } = this.store.take(SETTINGS);
    return this.services.commit(this.services.prepare(desired, gone));
  }

  /** Everything anew from what is pinned, as another process finds it. Returns how many entries were written. */
  restart(): number {
    this.tables[Symbol.dispose]();
    this.tables = this.open();
    return this.recover();
  }

  /** Everything anew in the same process, as after a failed write. */
  recover(): number {
    this.tables.writesLeft = Infinity;
    this.services = this.adopt();
    this.store = new Store();
    this.store.apply([...this.objects.values()].map((resource) => ({ op: 'set', resource })));
    const { desired, gone } = this.store.take(SETTINGS);
    const known = new Set(this.store.services());
    const vanished = this.services.services().filter((key) => !known.has(key));
    return this.services.commit(this.services.prepare(desired, [...gone, ...vanished]));
  }

  isServed(what: string): void {
    this.t.deepEqual(whatIsServed(this.tables), whatShouldBe(this.everything()), what);
  }

  everything(): DesiredService[] {
    const store = new Store();
    store.apply([...this.objects.values()].map((resource) => ({ op: 'set', resource })));
    return store.take(SETTINGS).desired;
  }

  /** Turns every rotation some way, as packets do. */
  turnRotations(): void {
    for (const { value } of this.tables.read('weir_frontends')) {
      const { scheduler, outside, inside } = decodeFrontend(Buffer.from(value, 'latin1'));
      if (scheduler === SCHEDULER.MAGLEV) continue;
      for (const { chunk } of [outside, inside]) {
        if (chunk !== 0) this.tables.arena.write(chunk, Uint32Array.of(this.rotation(chunk) + 7));
      }
    }
  }

  rotation(chunk: number): number {
    return this.tables.arena.read(chunk, 1)[0] ?? 0;
  }
}

const NAMES = ['a', 'b', 'c', 'd'];
const set = (...resources: Resource[]): Change[] => resources.map((resource) => ({ op: 'set', resource }));
const remove = (kind: Resource['kind'], name: string): Change[] => [{ op: 'delete', kind, namespace: 'shop', name }];

const someService: fc.Arbitrary<Resource> = fc
  .record({
    name: fc.constantFrom(...NAMES),
    created: fc.nat(3),
    external: fc.subarray(['192.0.2.11', '192.0.2.12', '2001:db8::11']),
    scheduler: fc.constantFrom('maglev', 'maglev', 'rr', 'random'),
    forwarding: fc.constantFrom('nat', 'dsr'),
    policy: fc.constantFrom('Cluster', 'Local'),
    nodePort: fc.constantFrom(0, 30080),
    two: fc.boolean(),
  })
  .map(({ name, created, external, scheduler, forwarding, policy, nodePort, two }) =>
    service(name, {
      created,
      clusterIps: [ip(`10.96.0.${NAMES.indexOf(name) + 1}`)],
      externalIps: ips(...external),
      annotations: { 'weir.io/scheduler': scheduler, 'weir.io/forwarding': forwarding },
      externalTrafficPolicy: policy as 'Cluster',
      ports: [
        { ...HTTP, name: 'http', nodePort: nodePort && nodePort + NAMES.indexOf(name) },
        ...(two ? [{ ...HTTP, name: 'dns', protocol: 'UDP' as const, port: 53 }] : []),
      ],
    }),
  );

const someSlice: fc.Arbitrary<Resource> = fc
  .record({
    of: fc.constantFrom(...NAMES),
    v6: fc.boolean(),
    which: fc.subarray([1, 2, 3, 4, 5, 6, 7]),
    ending: fc.subarray([1, 2, 3]),
  })
  .map(({ of, v6, which, ending }) =>
    slice(
      of,
      which.map((n) =>
        endpoint(v6 ? `2001:db8:1::${n}` : `10.1.0.${n}`, {
          nodeName: n % 2 === 0 ? 'node-1' : `node-${n}`,
          ...(ending.includes(n) ? { ready: false, serving: true, terminating: true } : {}),
        }),
      ),
      {
        name: `${of}-${v6 ? 6 : 4}`,
        ports: [
          { name: 'http', protocol: 'TCP', port: 8080 },
          { name: 'dns', protocol: 'UDP', port: 5353 },
        ],
      },
    ),
  );

const someChange: fc.Arbitrary<Change[]> = fc.oneof(
  { weight: 3, arbitrary: someService.map((resource) => set(resource)) },
  { weight: 5, arbitrary: someSlice.map((resource) => set(resource)) },
  { weight: 1, arbitrary: fc.constantFrom(...NAMES).map((name) => remove('Service', name)) },
  { weight: 1, arbitrary: fc.constantFrom(...NAMES).map((name) => remove('EndpointSlice', `${name}-4`)) },
);
const someChanges = fc.array(someChange, { minLength: 1, maxLength: 3 }).map((changes) => changes.flat());

/** The same sequence in every run, so that a failure can be looked at. */
function sequence(seed: number, length: number): { changes: Change[]; wait: number; cut: number }[] {
  return fc.sample(fc.record({ changes: someChanges, wait: fc.nat(1200), cut: fc.nat(25) }), { seed, numRuns: length });
}

test.serial('after every single write of any change, what a packet meets is whole', (t) => {
  const cluster = new Cluster(t);
  for (const [i, { changes, wait }] of sequence(1, 50).entries()) {
    cluster.now += wait;
    cluster.change(changes);
    cluster.isServed(`change ${i}`);
  }
  t.log(`${cluster.checks} writes`);
  t.true(cluster.checks > 300);
});

test.serial('what is so already is not written again, neither by the same agent nor by the next', (t) => {
  const cluster = new Cluster(t);
  for (const [i, { changes, wait }] of sequence(2, 25).entries()) {
    cluster.now += wait;
    cluster.change(changes);
    const again = cluster.services.prepare(cluster.everything(), []);
    t.deepEqual(again.writes, [], `change ${i}, prepared again`);
    cluster.turnRotations();
    t.is(cluster.restart(), 0, `change ${i}, after a restart`);
    t.is(cluster.recover(), 0, `change ${i}, after a recovery`);
    cluster.isServed(`change ${i}`);
  }
});

test.serial('an agent that comes after a crash between any two writes goes on, and nothing is ever half', (t) => {
  const cluster = new Cluster(t);
  let cuts = 0;
  for (const [i, { changes, wait, cut }] of sequence(3, 50).entries()) {
    cluster.now += wait;
    cluster.tables.writesLeft = cut;
    try {
      cluster.change(changes);
      cluster.tables.writesLeft = Infinity;
    } catch (error) {
      t.is((error as Error).message, 'power cut', String((error as Error).stack));
      cuts++;
      if (i % 2 === 0) cluster.restart();
      else cluster.recover();
    }
    cluster.isServed(`change ${i}`);
  }
  t.log(`${cuts} crashes`);
  t.true(cuts > 10);
});

test.serial('an agent that has recovered from failed writes has lost no room for slots', (t) => {
  const cluster = new Cluster(t);
  for (const { changes, wait, cut } of sequence(4, 30)) {
    cluster.now += wait;
    cluster.tables.writesLeft = cut;
    try {
      cluster.change(changes);
    } catch {
      cluster.recover();
    }
    cluster.tables.writesLeft = Infinity;
  }
  cluster.now += 10_000;
  cluster.change(NAMES.flatMap((name) => remove('Service', name)));
  t.is(cluster.tables.arena.usage().used, 0);
});

test.serial('a rotation goes on where it was when something else of its service changes', (t) => {
  const cluster = new Cluster(t);
  const rotating = { annotations: { 'weir.io/scheduler': 'rr' }, clusterIps: ips('10.96.0.1') };
  cluster.change(set(service('web', rotating), slice('web', ['10.1.0.1', '10.1.0.2'])));
  const chunkOf = (address: string): number => {
    const keys = [...cluster.tables.read('weir_frontends')].map(
      ({ key, value }) => [decodeFrontendKey(Buffer.from(key, 'latin1')), value] as const,
    );
    const found = keys.find(([key]) => key.address === ip(address))?.[1] ?? '';
    return decodeFrontend(Buffer.from(found, 'latin1')).outside.chunk;
  };
  const chunk = chunkOf('10.96.0.1');
  cluster.turnRotations();
  const count = cluster.rotation(chunk);
  t.true(count > 0);
  cluster.change(set(service('web', { ...rotating, externalIps: ips('192.0.2.9') })));
  t.is(chunkOf('10.96.0.1'), chunk);
  t.is(cluster.rotation(chunk), count);
  const other = chunkOf('192.0.2.9');
  t.not(other, chunk, 'every frontend has a rotation of its own');
  t.is(cluster.rotation(other), 0);
});

test.serial('an address that passes from a service to another is served at every moment', (t) => {
  const cluster = new Cluster(t);
  const shared = { externalIps: ips('192.0.2.9', '2001:db8::9') };
  cluster.change(set(service('old', shared), slice('old', ['10.1.0.1']), slice('new', ['10.1.0.2'])));
  const watch = cluster.tables.afterEach;
  cluster.tables.afterEach = (write) => {
    watch(write);
    const served = Object.entries(whatIsServed(cluster.tables));
    t.deepEqual(served.map(([address]) => address).sort(), ['192.0.2.9 80/6', '2001:db8::9 80/6']);
    t.regex(served.find(([address]) => address.startsWith('192'))?.[1] ?? '', /10\.1\.0\.[12]:8080 \|/);
  };
  cluster.change([...remove('Service', 'old'), ...set(service('new', shared))]);
  cluster.isServed('afterwards');
});

test.serial('a backend that leaves keeps its entry and its name until its grace ends', (t) => {
  const cluster = new Cluster(t);
  cluster.change(set(service('web', { clusterIps: ips('10.96.0.1') }), slice('web', ['10.1.0.1', '10.1.0.2'])));
  cluster.change(remove('Service', 'nobody').concat(set(slice('web', ['10.1.0.1']))));
  const present = (): string[] =>
    [...readNames({ read: (table) => cluster.tables.read(table) }).backends.values()]
      .map(({ address }) => address as string)
      .sort();
  t.deepEqual(present(), ['10.1.0.1', '10.1.0.2']);
  cluster.now += DRAIN - 1;
  cluster.change([]);
  t.deepEqual(present(), ['10.1.0.1', '10.1.0.2']);
  cluster.now += 1;
  cluster.change([]);
  t.deepEqual(present(), ['10.1.0.1']);
  cluster.change(set(slice('web', ['10.1.0.1', '10.1.0.2'])));
  cluster.isServed('back again');
});

test.serial('a restart neither forgets nor prolongs the grace of a backend that leaves', (t) => {
  const cluster = new Cluster(t);
  cluster.change(set(service('web', { clusterIps: ips('10.96.0.1') }), slice('web', ['10.1.0.1', '10.1.0.2'])));
  cluster.now = 10_000;
  cluster.change(set(slice('web', ['10.1.0.1'])));
  const until = (): number[] =>
    [...cluster.tables.read('weir_backends')].map(({ value }) => decodeBackend(Buffer.from(value, 'latin1')).until);
  t.deepEqual(until().sort(), [0, 12]);
  cluster.now = 11_000;
  t.is(cluster.restart(), 0);
  t.deepEqual(until().sort(), [0, 12]);
  t.deepEqual(cluster.services.drained(), []);
  cluster.now = 12_000;
  t.deepEqual(cluster.services.drained(), ['shop/web']);
  cluster.change([]);
  t.deepEqual(until(), [0]);
  cluster.change(set(slice('web', ['10.1.0.1', '10.1.0.2'])));
  t.deepEqual(until(), [0, 0], 'who comes back stays');
});

test.serial('the name of a node goes with the last backend that names it, also where an earlier agent left it', (t) => {
  const cluster = new Cluster(t);
  const web = service('web', { clusterIps: ips('10.96.0.1') });
  const on = (name: string, address: string): Resource => slice('web', [endpoint(address, { nodeName: name })]);
  const nodes = (): string[] =>
    [...cluster.tables.read('weir_names')]
      .map((row) => MAPS.weir_names.value.decode(Buffer.from(row.value, 'latin1'), 0).text)
      .filter((text) => text.startsWith('Node '));
  cluster.change(set(web, on('node-1', '10.1.0.1')));
  t.deepEqual(nodes(), ['Node node-1']);
  cluster.change(set(on('node-2', '10.1.0.2')));
  t.deepEqual(nodes().sort(), ['Node node-1', 'Node node-2'], 'a backend that drains still names its node');
  cluster.now += DRAIN;
  cluster.change([]);
  t.deepEqual(nodes(), ['Node node-2']);
  t.is(cluster.restart(), 0);
  const stale = { text: 'Node node-3' };
  {
    using names = openTable(cluster.root, MAPS.weir_names);
    names.set(4711, stale);
  }
  t.is(cluster.restart(), 1);
  t.deepEqual(nodes(), ['Node node-2']);
  cluster.change(remove('Service', 'web'));
  t.deepEqual(nodes(), []);
  t.is(cluster.restart(), 0);
});

test.serial(
  'a service that goes is not waited for, and its backends have their whole grace when it comes back',
  (t) => {
    const cluster = new Cluster(t);
    const web = service('web', { clusterIps: ips('10.96.0.1') });
    cluster.change(set(web, slice('web', ['10.1.0.1', '10.1.0.2'])));
    cluster.change(set(slice('web', ['10.1.0.1'])));
    cluster.change(remove('Service', 'web'));
    cluster.now += DRAIN * 2;
    t.deepEqual(cluster.services.drained(), []);
    cluster.change(set(web, slice('web', ['10.1.0.1', '10.1.0.2'])));
    cluster.change(set(slice('web', ['10.1.0.1'])));
    t.is([...cluster.tables.read('weir_backends')].length, 2);
  },
);
