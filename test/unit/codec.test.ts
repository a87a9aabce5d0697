import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { camel, collectStructs, type FieldLayout, isPad, type StructLayout } from '../../scripts/structs.js';
import { type Ip, ipFromBytes } from '../../src/core/net.js';
import { parseObject } from '../../src/maps/btf-parse.js';
import { type Codec, encodeOne, readText, writeText } from '../../src/maps/codec.js';
import * as layout from '../../src/maps/layout.js';

const btf = parseObject(readFileSync('bpf/build/weir.bpf.o'));
const structs = new Map(collectStructs(btf, btf.maps()).map((struct) => [struct.name, struct]));

const ips: fc.Arbitrary<Ip> = fc
  .oneof(
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    fc
      .uint8Array({ minLength: 4, maxLength: 4 })
      .map((bytes) => Uint8Array.from([...Array<number>(10).fill(0), 255, 255, ...bytes])),
  )
  .map(ipFromBytes);

const SCALARS: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  __u8: fc.nat(0xff),
  __u16: fc.nat(0xffff),
  __be16: fc.nat(0xffff),
  __u32: fc.nat(0xffffffff),
  __be32: fc.nat(0xffffffff),
  __s32: fc.integer(),
  __u64: fc.bigInt(0n, 0xffff_ffff_ffff_ffffn),
  ip: ips,
};

function arbitraryField(field: FieldLayout): fc.Arbitrary<unknown> {
  const scalar = SCALARS[field.type];
  if (scalar) return scalar;
  const struct = structs.get(field.type);
  if (struct) return arbitraryOf(struct);
  if (field.type.startsWith('char[')) {
    return fc.string({ maxLength: field.size - 1 }).map((text) => text.replaceAll('\0', ''));
  }
  return fc.uint8Array({ minLength: field.size, maxLength: field.size });
}

function arbitraryOf(struct: StructLayout): fc.Arbitrary<unknown> {
  const fields = struct.fields.filter((field) => !isPad(field));
  return fc.record(Object.fromEntries(fields.map((field) => [camel(field.name), arbitraryField(field)])));
}

function codecOf(struct: StructLayout): Codec<unknown> {
  const codec = Object.entries(layout).find(([name]) => name === `${camel(struct.name)}Codec`)?.[1];
  if (!codec || typeof codec !== 'object' || !('encode' in codec)) throw new Error(`no codec for ${struct.name}`);
  return codec;
}

for (const struct of structs.values()) {
  test(`struct ${struct.name} comes back from its bytes as it went in, wherever in a buffer it lies`, (t) => {
    const codec = codecOf(struct);
    t.is(codec.size, struct.size);
    fc.assert(
      fc.property(arbitraryOf(struct), fc.nat(40), (value, offset) => {
        const buffer = Buffer.alloc(offset + codec.size + 8, 0xa5);
        codec.encode(value, buffer, offset);
        t.deepEqual(codec.decode(buffer, offset), value);
        t.true([...buffer.subarray(0, offset), ...buffer.subarray(offset + codec.size)].every((byte) => byte === 0xa5));
      }),
    );
  });

  test(`struct ${struct.name} is encoded with zeros where it has padding`, (t) => {
    const codec = codecOf(struct);
    const covered = new Set(
      struct.fields.filter((field) => !isPad(field)).flatMap((field) => range(field.offset, field.size)),
    );
    const padding = range(0, struct.size).filter((at) => !covered.has(at));
    fc.assert(
      fc.property(arbitraryOf(struct), (value) => {
        const buffer = Buffer.alloc(codec.size, 0xa5);
        codec.encode(value, buffer, 0);
        t.true(padding.every((at) => buffer[at] === 0));
      }),
    );
  });
}

test('ports travel in network order, numbers in host order', (t) => {
  const key = encodeOne(layout.frontendKeyCodec, { address: '10.0.0.1' as Ip, port: 0x1234, protocol: 6 });
  t.is(key.toString('hex'), '00000000000000000000ffff0a000001' + '1234' + '06' + '00');
});

test('a text that does not fit is cut at the boundary of a character and ends with NUL', (t) => {
  const buffer = Buffer.alloc(10, 0xff);
  writeText(buffer, 1, 8, 'abcdef\u00e9\u00e9');
  t.is(readText(buffer, 1, 8), 'abcdef');
  t.is(buffer[0], 0xff);
  t.is(buffer[9], 0xff);
});

test('a number that does not fit its field is refused', (t) => {
  t.throws(() => encodeOne(layout.frontendKeyCodec, { address: '::1' as Ip, port: 65536, protocol: 6 }), {
    instanceOf: RangeError,
  });
});

function range(start: number, length: number): number[] {
  return Array.from({ length }, (_, i) => start + i);
}
