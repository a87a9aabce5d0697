/**
 * Reads the BTF of an ELF object (64-bit, little endian): the types, and the maps that the .maps section declares.
 * Pure: bytes in, descriptions out. Format: Documentation/bpf/btf.rst of the kernel.
 */
import { WeirError } from '../errors.js';

export interface Member {
  readonly name: string;
  readonly type: number;
  /** Bytes from the start of the struct. */
  readonly offset: number;
}

export type BtfType = { readonly name: string } & (
  | { readonly kind: 'int'; readonly size: number; readonly signed: boolean; readonly char: boolean }
  | { readonly kind: 'pointer' | 'typedef' | 'qualifier' | 'var' | 'function'; readonly type: number }
  | { readonly kind: 'array'; readonly element: number; readonly count: number }
  | { readonly kind: 'struct' | 'union'; readonly size: number; readonly members: readonly Member[] }
  | { readonly kind: 'enum'; readonly size: number; readonly values: ReadonlyMap<string, number> }
  | { readonly kind: 'section'; readonly variables: readonly number[] }
  | { readonly kind: 'other' }
);

/** A map as declared; sizes are 0 where the declaration gives none. */
export interface MapDeclaration {
  readonly name: string;
  readonly type: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly keySize: number;
  readonly valueSize: number;
  /** Type ids in the BTF, 0 where the declaration gives a bare size. */
  readonly keyType: number;
  readonly valueType: number;
  /** The template of a map of maps. */
  readonly inner?: MapDeclaration;
}

const KIND = { INT: 1, PTR: 2, ARRAY: 3, STRUCT: 4, UNION: 5, ENUM: 6, TYPEDEF: 8, FUNC: 12, VAR: 14, DATASEC: 15 };
const KIND_NAMES: Readonly<Record<number, 'pointer' | 'typedef' | 'qualifier' | 'var' | 'function'>> = {
  2: 'pointer',
  8: 'typedef',
  9: 'qualifier', // volatile
  10: 'qualifier', // const
  11: 'qualifier', // restrict
  12: 'function',
  14: 'var',
  18: 'qualifier', // type tag
};
/** Bytes after the common 12, per vlen and fixed, of the kinds whose content is not read. */
const SKIPPED: Readonly<Record<number, readonly [fixed: number, each: number]>> = {
  13: [0, 8],
  17: [4, 0],
  19: [0, 12],
};

/** The types of one object. Ids are those of the BTF: 0 is void. */
export class Btf {
  readonly types: readonly BtfType[];

  constructor(types: readonly BtfType[]) {
    this.types = types;
  }

  at(id: number): BtfType {
    const type = this.types[id];
    if (!type) throw broken(`type ${id} does not exist`);
    return type;
  }

  /** The type itself, without typedefs and qualifiers. */
  resolve(id: number): BtfType {
    let type = this.at(id);
    while (type.kind === 'typedef' || type.kind === 'qualifier') type = this.at(type.type);
    return type;
  }

  /** Name of the outermost typedef, struct or int: `__be16`, `frontend_key`, `__u32`. */
  nameOf(id: number): string {
    const type = this.at(id);
    return type.kind === 'qualifier' ? this.nameOf(type.type) : type.name;
  }

  sizeOf(id: number): number {
    const type = this.resolve(id);
    switch (type.kind) {
      case 'int':
      case 'struct':
      case 'union':
      case 'enum':
        return type.size;
      case 'array':
        return type.count * this.sizeOf(type.element);
      case 'pointer':
        return 8;
      default:
        return 0;
    }
  }

  /** The maps in the order of the .maps section. */
  maps(): MapDeclaration[] {
    const section = this.types.find((type) => type.kind === 'section' && type.name === '.maps');
    if (section?.kind !== 'section') return [];
    return section.variables.map((id) => {
      const variable = this.at(id);
      if (variable.kind !== 'var') throw broken(`.maps holds a ${variable.kind}`);
      return this.mapAt(variable.name, variable.type);
    });
  }

  private mapAt(name: string, id: number): MapDeclaration {
    const struct = this.resolve(id);
    if (struct.kind !== 'struct') throw broken(`map ${name} is declared as a ${struct.kind}`);
    const field = (wanted: string): number => struct.members.find((member) => member.name === wanted)?.type ?? 0;
    // __uint(name, N) is a pointer to an array of N, __type(name, T) a pointer to T.
    const uint = (wanted: string): number => {
      const array = this.pointee(field(wanted));
      return array?.kind === 'array' ? array.count : 0;
    };
    const [keyType, valueType] = [this.pointeeId(field('key')), this.pointeeId(field('value'))];
    const values = this.resolve(field('values'));
    const inner = values.kind === 'array' ? this.pointeeId(values.element) : 0;
    return {
      name,
      type: uint('type'),
      maxEntries: uint('max_entries'),
      flags: uint('map_flags'),
      keySize: keyType ? this.sizeOf(keyType) : uint('key_size'),
      valueSize: inner ? 4 : valueType ? this.sizeOf(valueType) : uint('value_size'),
      keyType,
      valueType,
      ...(inner ? { inner: this.mapAt(this.nameOf(inner), inner) } : {}),
    };
  }

  private pointeeId(id: number): number {
    const type = this.resolve(id);
    return type.kind === 'pointer' ? type.type : 0;
  }

  private pointee(id: number): BtfType | undefined {
    const type = this.resolve(id);
    return type.kind === 'pointer' ? this.resolve(type.type) : undefined;
  }
}

/** The types of an ELF object. Throws WEIR_OBJECT where it is none, or has no .BTF. */
export function parseObject(elf: Buffer): Btf {
  return parseBtf(elfSection(elf, '.BTF'));
}

/** The content of a named section of a 64-bit little-endian ELF file. */
export function elfSection(elf: Buffer, wanted: string): Buffer {
  if (elf.length < 64 || elf.readUInt32BE(0) !== 0x7f454c46 || elf[4] !== 2 || elf[5] !== 1) throw broken('not an ELF');
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
  throw broken(`no section ${wanted}`);
}

/** The types in the content of a .BTF section. */
export function parseBtf(btf: Buffer): Btf {
  if (btf.length < 24 || btf.readUInt16LE(0) !== 0xeb9f) throw broken('not BTF');
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

function readType(btf: Buffer, at: number, strings: Buffer): { type: BtfType; next: number } {
  const name = textAt(strings, btf.readUInt32LE(at));
  const info = btf.readUInt32LE(at + 4);
  const size = btf.readUInt32LE(at + 8);
  const [kind, count, bitfields] = [(info >>> 24) & 0x1f, info & 0xffff, info >>> 31 === 1];
  const body = at + 12;
  const words = (i: number, width: number): number[] =>
    Array.from({ length: width }, (_, word) => btf.readUInt32LE(body + (i * width + word) * 4));
  const each = <T>(width: number, make: (words: number[]) => T): T[] =>
    Array.from({ length: count }, (_, i) => make(words(i, width)));

  if (kind === KIND.INT) {
    const encoding = (words(0, 1)[0] ?? 0) >>> 24;
    return { type: { kind: 'int', name, size, signed: (encoding & 1) !== 0, char: isChar(name) }, next: body + 4 };
  }
  if (kind === KIND.ARRAY) {
    const [element = 0, , length = 0] = words(0, 3);
    return { type: { kind: 'array', name, element, count: length }, next: body + 12 };
  }
  if (kind === KIND.STRUCT || kind === KIND.UNION) {
    const members = each(3, ([nameAt = 0, type = 0, bits = 0]) => {
      return { name: textAt(strings, nameAt), type, offset: (bitfields ? bits & 0xffffff : bits) / 8 };
    });
    return { type: { kind: kind === KIND.STRUCT ? 'struct' : 'union', name, size, members }, next: body + count * 12 };
  }
  if (kind === KIND.ENUM) {
    const values = new Map(
      each(2, ([nameAt = 0, value = 0]): [string, number] => [textAt(strings, nameAt), value | 0]),
    );
    return { type: { kind: 'enum', name, size, values }, next: body + count * 8 };
  }
  if (kind === KIND.DATASEC) {
    return { type: { kind: 'section', name, variables: each(3, ([type = 0]) => type) }, next: body + count * 12 };
  }
  const reference = KIND_NAMES[kind];
  if (reference) return { type: { kind: reference, name, type: size }, next: body + (kind === KIND.VAR ? 4 : 0) };
  const [fixed, perItem] = SKIPPED[kind] ?? [0, 0];
  return { type: { kind: 'other', name }, next: body + fixed + perItem * count };
}

/** clang marks no int as a character; `char` is known by name. */
function isChar(name: string): boolean {
  return name === 'char';
}

function textAt(strings: Buffer, offset: number): string {
  return strings.toString('utf8', offset, strings.indexOf(0, offset));
}

function broken(what: string): WeirError {
  return new WeirError('WEIR_OBJECT', `read the BPF object: ${what}`);
}
