/** Reads BTF from the bytes of an ELF object (64-bit, little endian). */
import { WeirError } from '../errors.js';
import { brokenObject, Btf, type BtfType } from './btf.js';

const KIND = { INT: 1, ARRAY: 3, STRUCT: 4, UNION: 5, ENUM: 6, DATASEC: 15 } as const;
/** Kinds that only name another type. */
const REFERENCES: Readonly<Record<number, 'pointer' | 'typedef' | 'qualifier' | 'var' | 'function'>> = {
  2: 'pointer',
  8: 'typedef',
  9: 'qualifier', // volatile
  10: 'qualifier', // const
  11: 'qualifier', // restrict
  12: 'function',
  14: 'var',
  18: 'qualifier', // type tag
};
/** 32-bit words that follow the head of a type: always, and for each of its members. A kind that is not here has none. */
const BODY: Readonly<Record<number, readonly [fixed: number, each: number]>> = {
  [KIND.INT]: [1, 0],
  [KIND.ARRAY]: [3, 0],
  [KIND.STRUCT]: [0, 3],
  [KIND.UNION]: [0, 3],
  [KIND.ENUM]: [0, 2],
  13: [0, 2], // function prototype
  14: [1, 0], // variable
  [KIND.DATASEC]: [0, 3],
  17: [1, 0], // declaration tag
  19: [0, 3], // 64-bit enum
};

/** The types of an ELF object. Throws WEIR_OBJECT where it is none, or has no .BTF. */
export function parseObject(elf: Buffer): Btf {
  try {
    return parseBtf(elfSection(elf, '.BTF'));
  } catch (cause) {
    if (cause instanceof WeirError) throw cause;
    throw brokenObject(`it is cut short or damaged (${String(cause)})`);
  }
}

/** The content of a named section of a 64-bit little-endian ELF file. */
export function elfSection(elf: Buffer, wanted: string): Buffer {
  if (elf.length < 64 || elf.readUInt32BE(0) !== 0x7f454c46 || elf[4] !== 2 || elf[5] !== 1)
    throw brokenObject('not an ELF');
  const [table, size, count, names] = [
    Number(elf.readBigUInt64LE(40)),
    elf.readUInt16LE(58),
    elf.readUInt16LE(60),
    elf.readUInt16LE(62),
  ];
  const header = (index: number): Buffer => elf.subarray(table + index * size, table + (index + 1) * size);
  const content = (at: Buffer): Buffer => {
    const start = Number(at.readBigUInt64LE(24));
    return elf.subarray(start, start + Number(at.readBigUInt64LE(32)));
  };
  const strings = content(header(names));
  for (let i = 0; i < count; i++) {
    if (textAt(strings, header(i).readUInt32LE(0)) === wanted) return content(header(i));
  }
  throw brokenObject(`no section ${wanted}`);
}

/** The types in the content of a .BTF section. */
export function parseBtf(btf: Buffer): Btf {
  if (btf.length < 24 || btf.readUInt16LE(0) !== 0xeb9f) throw brokenObject('not BTF');
  const header = btf.readUInt32LE(4);
  const start = header + btf.readUInt32LE(8);
  const end = start + btf.readUInt32LE(12);
  const strings = btf.subarray(header + btf.readUInt32LE(16));
  const types: BtfType[] = [{ kind: 'other', name: 'void' }];
  for (let at = start; at < end;) {
    const { type, next } = readType(btf, at, strings);
    types.push(type);
    at = next;
  }
  return new Btf(types);
}

/** One type as it lies in the section. */
interface RawType {
  readonly name: string;
  readonly kind: number;
  /** Members are bit fields: their offsets carry a width in the upper byte. */
  readonly bitfields: boolean;
  /** Size of the type, or the type that it refers to. */
  readonly size: number;
  /** The words of each member, or the fixed words in one row. */
  readonly rows: readonly (readonly number[])[];
}

function readType(btf: Buffer, at: number, strings: Buffer): { type: BtfType; next: number } {
  const info = btf.readUInt32LE(at + 4);
  const kind = (info >>> 24) & 0x1f;
  const [fixed, each] = BODY[kind] ?? [0, 0];
  const [width, count] = each > 0 ? [each, info & 0xffff] : [fixed, fixed > 0 ? 1 : 0];
  const rows = Array.from({ length: count }, (_, row) =>
    Array.from({ length: width }, (_, word) => btf.readUInt32LE(at + 12 + (row * width + word) * 4)),
  );
  const name = textAt(strings, btf.readUInt32LE(at));
  const raw = { name, kind, bitfields: info >>> 31 === 1, size: btf.readUInt32LE(at + 8), rows };
  return { type: describe(raw, strings), next: at + 12 + width * count * 4 };
}

function describe({ name, kind, bitfields, size, rows }: RawType, strings: Buffer): BtfType {
  switch (kind) {
    case KIND.INT:
      return { kind: 'int', name, size };
    case KIND.ARRAY: {
      const [element = 0, , count = 0] = rows[0] ?? [];
      return { kind: 'array', name, element, count };
    }
    case KIND.STRUCT:
    case KIND.UNION: {
      const members = rows.map(([nameAt = 0, type = 0, bits = 0]) => {
        return { name: textAt(strings, nameAt), type, offset: (bitfields ? bits & 0xffffff : bits) / 8 };
      });
      return { kind: kind === KIND.STRUCT ? 'struct' : 'union', name, size, members };
    }
    case KIND.ENUM: {
      const values = rows.map(([nameAt = 0, value = 0]): [string, number] => [textAt(strings, nameAt), value | 0]);
      return { kind: 'enum', name, size, values: new Map(values) };
    }
    case KIND.DATASEC:
      return { kind: 'section', name, variables: rows.map(([type = 0]) => type) };
    default: {
      const reference = REFERENCES[kind];
      return reference ? { kind: reference, name, type: size } : { kind: 'other', name };
    }
  }
}

function textAt(strings: Buffer, offset: number): string {
  return strings.toString('utf8', offset, strings.indexOf(0, offset));
}
