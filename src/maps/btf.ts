/**
 * The types of a BPF object, and the maps that its .maps section declares. Pure; btf-parse.ts reads them from bytes.
 * Format: Documentation/bpf/btf.rst of the kernel.
 */
import { WeirError } from '../errors.js';

export interface Member {
  readonly name: string;
  readonly type: number;
  /** Bytes from the start of the struct. */
  readonly offset: number;
}

export type BtfType = { readonly name: string } & (
  | { readonly kind: 'int'; readonly size: number }
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

/** The types of one object. Ids are those of the BTF: 0 is void. */
export class Btf {
  readonly types: readonly BtfType[];

  constructor(types: readonly BtfType[]) {
    this.types = types;
  }

  at(id: number): BtfType {
    const type = this.types[id];
    if (!type) throw brokenObject(`type ${id} does not exist`);
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
      if (variable.kind !== 'var') throw brokenObject(`.maps holds a ${variable.kind}`);
      return this.mapAt(variable.name, variable.type);
    });
  }

  private mapAt(name: string, id: number): MapDeclaration {
    const struct = this.resolve(id);
    if (struct.kind !== 'struct') throw brokenObject(`map ${name} is declared as a ${struct.kind}`);
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

/** The object is not what it should be. */
export function brokenObject(what: string): WeirError {
  return new WeirError('WEIR_OBJECT', `read the BPF object: ${what}`);
}
