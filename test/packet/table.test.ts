import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Ip, ipFromBytes } from '../../src/core/net.js';
import { createMap, MAP_FLAG, MAP_TYPE, pin } from '../../src/loader/kernel-map.js';
import { closeFd } from '../../src/loader/libbpf.js';
import { ensureRoot } from '../../src/loader/pins.js';
import { encodeOne, type MapLayout, u32Codec } from '../../src/maps/codec.js';
import { type Frontend, type FrontendKey, MAPS } from '../../src/maps/layout.js';
import { openTable, type Table } from '../../src/maps/table.js';
import { bpfDescriptors, bpffs } from './loader-world.js';

const SELECTION = { chunk: 1, size: 101, backends: 3 };
const FRONTEND: Frontend = {
  service: 7,
  kind: 1,
  scheduler: 1,
  forwarding: 1,
  flags: 1,
  outside: SELECTION,
  tunnelled: SELECTION,
  inside: { chunk: 0, size: 0, backends: 0 },
  affinity: 0,
};

/** Makes and pins an empty map of that layout, and opens it. */
function given<K, V>(t: ExecutionContext, root: string, layout: MapLayout<K, V>): Table<K, V> {
  ensureRoot(root);
  const fd = createMap(layout.name, layout);
  pin(fd, join(root, layout.name));
  closeFd(fd);
  const table = openTable(root, layout);
  t.teardown(() => table[Symbol.dispose]());
  return table;
}

function keyOf(i: number): FrontendKey {
  const address = ipFromBytes(
    Uint8Array.from([...Array<number>(10).fill(0), 255, 255, 10, i >> 16, (i >> 8) & 255, i & 255]),
  );
  return { address, port: 80, protocol: 6 };
}

function encodedEntries(count: number): { key: Buffer; value: Buffer }[] {
  const value = encodeOne(MAPS.weir_frontends.value, FRONTEND);
  return Array.from({ length: count }, (_, i) => ({ key: encodeOne(MAPS.weir_frontends.key, keyOf(i)), value }));
}

test('what is set is got back, an absent key is undefined and a delete says whether it was there', (t) => {
  const table = given(t, bpffs(t), { ...MAPS.weir_frontends, maxEntries: 16 });
  t.is(table.get(keyOf(1)), undefined);
  table.set(keyOf(1), FRONTEND);
  t.deepEqual(table.get(keyOf(1)), FRONTEND);
  t.false(table.add(keyOf(1), { ...FRONTEND, service: 8 }));
  t.true(table.add(keyOf(2), { ...FRONTEND, service: 8 }));
  t.deepEqual([...table.entries()].map(([key, value]) => `${key.address} ${value.service}`).sort(), [
    `${keyOf(1).address} 7`,
    `${keyOf(2).address} 8`,
  ]);
  t.true(table.delete(keyOf(1)));
  t.false(table.delete(keyOf(1)));
});

test('100,000 entries are written, read and deleted', (t) => {
  const table = given(t, bpffs(t), MAPS.weir_frontends);
  const entries = encodedEntries(100_000);
  table.putEncoded(entries);
  t.is(new Set([...table.rawEntries()].map(({ key }) => key.toString('latin1'))).size, entries.length);
  t.is([...table.entries()].length, entries.length);
  t.is(table.deleteEncoded(entries.map(({ key }) => key)), entries.length);
  t.deepEqual([...table.entries()], []);
});

test('deleting many passes over keys that are absent and counts the others', (t) => {
  const table = given(t, bpffs(t), { ...MAPS.weir_frontends, maxEntries: 64 });
  const entries = encodedEntries(20);
  table.putEncoded(entries.filter((_, i) => i % 3 === 0));
  t.is(table.deleteEncoded(entries.map(({ key }) => key)), 7);
  t.deepEqual([...table.rawEntries()], []);
});

test('a full map is named, with the number of entries that went in', (t) => {
  const table = given(t, bpffs(t), { ...MAPS.weir_frontends, maxEntries: 10 });
  const error = t.throws(() => table.putEncoded(encodedEntries(12)));
  t.like(error, { code: 'WEIR_FULL', details: { applied: 10 } });
  t.regex(error.message, /weir_frontends \(10 of 12 done\)/);
  t.like(
    t.throws(() => table.set(keyOf(11), FRONTEND)),
    { code: 'WEIR_FULL' },
  );
});

test('bytes of a wrong length never reach the kernel', (t) => {
  const table = given(t, bpffs(t), { ...MAPS.weir_frontends, maxEntries: 10 });
  t.throws(() => table.putEncoded([{ key: Buffer.alloc(19), value: Buffer.alloc(32) }]), { instanceOf: RangeError });
  t.throws(() => table.deleteEncoded([Buffer.alloc(21)]), { instanceOf: RangeError });
});

test('a map of another shape is refused with both numbers, another number of entries is fine', (t) => {
  const root = bpffs(t);
  given(t, root, { ...MAPS.weir_backends, maxEntries: 12 });
  t.notThrows(() => openTable(root, MAPS.weir_backends)[Symbol.dispose]());
  const before = bpfDescriptors();
  const error = t.throws(() => openTable(root, { ...MAPS.weir_frontends, name: 'weir_backends' }));
  t.like(error, {
    code: 'WEIR_LAYOUT',
    message: 'open table weir_backends: keySize is 4 in the kernel and 20 in this program',
  });
  t.is(bpfDescriptors(), before);
});

test('without a pin the table is not installed', (t) => {
  t.like(
    t.throws(() => openTable(bpffs(t), MAPS.weir_backends)),
    { code: 'WEIR_NOT_INSTALLED' },
  );
});

test('an LRU map of flows is read whole and gives up its oldest entries when it is full', (t) => {
  const table = given(t, bpffs(t), { ...MAPS.weir_drops, maxEntries: 512 });
  const drop = { count: 1n, first: 2n, last: 3n, ifindex: 4, rule: 5 };
  for (let port = 1; port <= 2000; port++) {
    table.set(
      { source: '10.0.0.1' as Ip, destination: '2001:db8::1' as Ip, port, protocol: 6, reason: 5, hook: 1 },
      drop,
    );
  }
  const ports = [...table.entries()].map(([key]) => key.port);
  t.true(ports.length > 128 && ports.length <= 512, `${ports.length}`);
  t.is(new Set(ports).size, ports.length);
});

test('prefixes are found by the longest match and listed whole', (t) => {
  const table = given(t, bpffs(t), { ...MAPS.weir_sources, maxEntries: 5000 });
  table.set({ bits: 104, address: '10.0.0.0' as Ip }, 1);
  table.set({ bits: 112, address: '10.1.0.0' as Ip }, 2);
  t.is(table.get({ bits: 128, address: '10.1.2.3' as Ip }), 2);
  t.is(table.get({ bits: 128, address: '10.2.2.3' as Ip }), 1);
  const many = Array.from({ length: 3000 }, (_, i) => ({
    key: encodeOne(MAPS.weir_sources.key, { bits: 128, address: keyOf(i + 500_000).address }),
    value: encodeOne(u32Codec, i),
  }));
  table.putEncoded(many);
  t.is([...table.entries()].length, 3002);
});

test('counters come with the values of every CPU', (t) => {
  const table = given(t, bpffs(t), MAPS.weir_counters);
  table.set(3, { packets: 5n, bytes: 6n });
  const sum = (values: readonly { packets: bigint }[]): bigint =>
    values.reduce((all, { packets }) => all + packets, 0n);
  t.true(table.perCpu(3).every(({ packets }) => packets === 5n));
  const rows = [...table.entriesPerCpu()];
  t.is(rows.length, MAPS.weir_counters.maxEntries);
  t.is(rows.filter(([, values]) => sum(values) > 0n).length, 1);
  t.deepEqual(table.perCpu(100_000), []);
});

test('a bucket with more entries than a chunk is read with a larger chunk', (t) => {
  const layout = {
    ...MAPS.weir_backends,
    name: 'weir_small',
    maxEntries: 4,
    type: MAP_TYPE.HASH,
    flags: MAP_FLAG.NO_PREALLOC,
  };
  const table = given(t, bpffs(t), layout);
  const backend = {
    address: '10.0.0.1' as Ip,
    port: 1,
    protocol: 6,
    state: 1,
    service: 1,
    node: 0,
    weight: 1,
    flags: 0,
    until: 0,
  };
  for (let id = 0; id < 4; id++) table.set(id, backend);
  t.is([...table.entries()].length, 4);
});

test('a table that was disposed of answers EBADF, and no descriptor stays open', (t) => {
  const root = bpffs(t);
  given(t, root, { ...MAPS.weir_backends, maxEntries: 4 });
  const before = bpfDescriptors();
  const table = openTable(root, MAPS.weir_backends);
  t.is(bpfDescriptors(), before + 1);
  table[Symbol.dispose]();
  table[Symbol.dispose]();
  t.is(bpfDescriptors(), before);
  t.regex(t.throws(() => table.get(1)).message, /EBADF/);
});
