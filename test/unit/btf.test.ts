import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Btf } from '../../src/maps/btf.js';
import { parseObject } from '../../src/maps/btf-parse.js';

const SOURCE = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
enum colour { RED = 1, BLUE = -2 };
struct inner { __be16 port; __u8 mac[6]; };
struct key { __be32 address; const __u32 id; };
struct value { __u64 seen; struct inner inner; enum colour colour; char text[12]; };
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 77); __uint(map_flags, 2);
  __type(key, struct key); __type(value, struct value); } flows SEC(".maps");
struct template { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 5); __uint(key_size, 4); __uint(value_size, 256); };
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 3); __uint(key_size, 4);
  __array(values, struct template); } outer SEC(".maps");
SEC("tc") int f(struct __sk_buff *skb) { struct key k = {}; return bpf_map_lookup_elem(&flows, &k) ? 1 : 0; }
char _license[] SEC("license") = "GPL";
`;

function compile(): Btf {
  const dir = mkdtempSync(join(tmpdir(), 'weir-btf-'));
  try {
    const [source, object] = [join(dir, 'x.c'), join(dir, 'x.o')];
    writeFileSync(source, SOURCE);
    const clang = process.env['CLANG'] ?? 'clang-19';
    const include = ['-I/usr/include/x86_64-linux-gnu', '-I/usr/include/aarch64-linux-gnu'];
    execFileSync(clang, ['-O2', '-g', '-target', 'bpf', ...include, '-c', source, '-o', object]);
    return parseObject(readFileSync(object));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const btf = compile();

test('the declaration of a map is read with its type, sizes, flags and the names of its key and value', (t) => {
  const flows = btf.maps().find((map) => map.name === 'flows');
  t.like(flows, { type: 9, maxEntries: 77, flags: 2, keySize: 8, valueSize: 32 });
  t.deepEqual(
    [flows?.keyType, flows?.valueType].map((type) => btf.nameOf(type ?? 0)),
    ['key', 'value'],
  );
});

test('a map of maps carries the template of its inner maps', (t) => {
  const outer = btf.maps().find((map) => map.name === 'outer');
  t.like(outer, { type: 12, maxEntries: 3, keySize: 4, valueSize: 4 });
  t.like(outer?.inner, { name: 'template', type: 2, maxEntries: 5, keySize: 4, valueSize: 256 });
});

test('members keep their offsets and the typedef that tells the byte order', (t) => {
  const members = (name: string): unknown[] => {
    const struct = btf.types.find((type) => type.kind === 'struct' && type.name === name);
    if (struct?.kind !== 'struct') return [];
    return struct.members.map((member) => [
      member.name,
      member.offset,
      btf.nameOf(member.type),
      btf.sizeOf(member.type),
    ]);
  };
  t.deepEqual(members('key'), [
    ['address', 0, '__be32', 4],
    ['id', 4, '__u32', 4],
  ]);
  t.deepEqual(members('inner'), [
    ['port', 0, '__be16', 2],
    ['mac', 2, '', 6],
  ]);
  t.deepEqual(members('value'), [
    ['seen', 0, '__u64', 8],
    ['inner', 8, 'inner', 8],
    ['colour', 16, 'colour', 4],
    ['text', 20, '', 12],
  ]);
});

test('an enum that a value uses is read with its negative values', (t) => {
  const colour = btf.types.find((type) => type.name === 'colour');
  t.deepEqual(colour?.kind === 'enum' ? [...colour.values] : [], [
    ['RED', 1],
    ['BLUE', -2],
  ]);
});

test('a file that is no BPF object is refused with WEIR_OBJECT', (t) => {
  for (const bytes of [Buffer.alloc(0), Buffer.from('#!/bin/sh\n'), readFileSync(process.execPath).subarray(0, 4096)]) {
    t.like(
      t.throws(() => parseObject(bytes)),
      { code: 'WEIR_OBJECT' },
    );
  }
});
