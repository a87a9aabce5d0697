/** Structs of the BTF as TypeScript interfaces with straight-line encoders and decoders. */
import type { Btf, MapDeclaration, Member } from '../src/maps/btf.js';

export interface FieldLayout {
  readonly name: string;
  /** C type: `__u32`, `__be16`, `ip`, `selection`, `__u8[6]`, `char[320]`. */
  readonly type: string;
  readonly offset: number;
  readonly size: number;
}

export interface StructLayout {
  readonly name: string;
  readonly size: number;
  readonly fields: readonly FieldLayout[];
}

interface FieldCode {
  readonly type: string;
  read(at: string): string;
  write(value: string, at: string): string;
}

const integer = (method: string, type = 'number'): FieldCode => ({
  type,
  read: (at) => `buffer.read${method}(${at})`,
  write: (value, at) => `buffer.write${method}(${value}, ${at});`,
});

const SCALARS: Readonly<Record<string, FieldCode>> = {
  __u8: integer('UInt8'),
  __u16: integer('UInt16LE'),
  __u32: integer('UInt32LE'),
  __s32: integer('Int32LE'),
  __u64: integer('BigUInt64LE', 'bigint'),
  __be16: integer('UInt16BE'),
  __be32: integer('UInt32BE'),
  __be64: integer('BigUInt64BE', 'bigint'),
  ip: {
    type: 'Ip',
    read: (at) => `readIp(buffer, ${at})`,
    write: (value, at) => `writeIp(buffer, ${at}, ${value});`,
  },
};

/** Structs that are keys or values or part of one, inner ones first. struct ip is no struct here: it becomes an Ip. */
export function collectStructs(btf: Btf, maps: readonly MapDeclaration[]): StructLayout[] {
  const found = new Map<string, StructLayout>();
  const visit = (id: number): void => {
    const type = btf.resolve(id);
    if (type.kind !== 'struct' || type.name === 'ip' || found.has(type.name)) return;
    for (const member of type.members) visit(member.type);
    const fields = type.members.map((member) => fieldLayout(btf, type.name, member));
    found.set(type.name, { name: type.name, size: type.size, fields });
  };
  for (const map of maps) for (const id of [map.keyType, map.valueType]) visit(id);
  return [...found.values()];
}

function fieldLayout(btf: Btf, struct: string, member: Member): FieldLayout {
  const type = btf.resolve(member.type);
  const size = btf.sizeOf(member.type);
  const { name, offset } = member;
  if (type.kind === 'array') return { name, type: `${btf.nameOf(type.element)}[${type.count}]`, offset, size };
  if (type.kind === 'int' || type.kind === 'struct') return { name, type: btf.nameOf(member.type), offset, size };
  if (type.kind === 'enum') return { name, type: '__u32', offset, size };
  throw new Error(`struct ${struct}: member ${name} is a ${type.kind}, for which there is no codec`);
}

function codeOf(field: FieldLayout): FieldCode {
  const scalar = SCALARS[field.type];
  if (scalar) return scalar;
  if (!field.type.includes('[')) {
    const name = pascal(field.type);
    return {
      type: name,
      read: (at) => `decode${name}(buffer, ${at})`,
      write: (value, at) => `encode${name}(${value}, buffer, ${at});`,
    };
  }
  const [type, suffix] = field.type.startsWith('char[') ? ['string', 'Text'] : ['Uint8Array', 'Bytes'];
  if (type === 'Uint8Array' && !field.type.startsWith('__u8[')) throw new Error(`no codec for ${field.type}`);
  return {
    type,
    read: (at) => `read${suffix}(buffer, ${at}, ${field.size})`,
    write: (value, at) => `write${suffix}(buffer, ${at}, ${field.size}, ${value});`,
  };
}

export function isPad(field: FieldLayout): boolean {
  return /^pad\d*$/.test(field.name);
}

/** Interface, size, encoder, decoder and codec of one struct. */
export function structSource(struct: StructLayout): string {
  const name = pascal(struct.name);
  const fields = struct.fields.filter((field) => !isPad(field));
  const covered = fields.reduce((sum, field) => sum + field.size, 0);
  const at = (field: FieldLayout): string => (field.offset === 0 ? 'offset' : `offset + ${field.offset}`);
  const lines = (make: (field: FieldLayout, code: FieldCode) => string): string =>
    fields.map((field) => make(field, codeOf(field))).join('\n');
  return `/** struct ${struct.name}, ${struct.size} bytes */
export interface ${name} {
${lines((field, code) => `readonly ${camel(field.name)}: ${code.type};`)}
}

export function encode${name}(value: ${name}, buffer: Buffer, offset = 0): void {
${covered < struct.size ? `buffer.fill(0, offset, offset + ${struct.size});` : ''}
${lines((field, code) => code.write(`value.${camel(field.name)}`, at(field)))}
}

export function decode${name}(buffer: Buffer, offset = 0): ${name} {
  return {
${lines((field, code) => `${camel(field.name)}: ${code.read(at(field))},`)}
  };
}

export const ${camel(struct.name)}Codec: Codec<${name}> = {
  name: '${struct.name}', size: ${struct.size}, encode: encode${name}, decode: decode${name},
};
`;
}

/** The codec that turns values of a key or value type into bytes. */
export function codecName(btf: Btf, type: number): string {
  const name = btf.nameOf(type);
  if (name === '__u32') return 'u32Codec';
  if (name === '__u64') return 'u64Codec';
  return `${camel(name)}Codec`;
}

export function camel(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function pascal(name: string): string {
  const text = camel(name);
  return text.charAt(0).toUpperCase() + text.slice(1);
}
