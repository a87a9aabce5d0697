/** Maps as the kernel offers them: file descriptors, raw keys and raw values. src/maps gives them types. */
import { KernelError } from './errors.js';
import { cString, closeFd, type Fd, type Pointer, viewMemory } from './libbpf.js';
import { libbpf, sys } from './native.js';
import { readFileSync } from 'node:fs';

/** enum bpf_map_type, as far as Weir uses it. */
export const MAP_TYPE = {
  HASH: 1,
  ARRAY: 2,
  PROG_ARRAY: 3,
  PERCPU_HASH: 5,
  PERCPU_ARRAY: 6,
  LRU_HASH: 9,
  LRU_PERCPU_HASH: 10,
  LPM_TRIE: 11,
  ARRAY_OF_MAPS: 12,
  HASH_OF_MAPS: 13,
  DEVMAP: 14,
  RINGBUF: 27,
} as const;

export const MAP_FLAG = { NO_PREALLOC: 1, MMAPABLE: 1 << 10, INNER_MAP: 1 << 12 } as const;

/** Flags of an update: any, only if absent, only if present. */
export const UPDATE = { ANY: 0, NOEXIST: 1, EXIST: 2 } as const;
export type UpdateFlag = (typeof UPDATE)[keyof typeof UPDATE];

export interface MapShape {
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

export interface MapInfo extends MapShape {
  readonly id: number;
  readonly name: string;
}

const ENOENT = -2;
const EEXIST = -17;
const INFO_SIZE = 96;

/** Type names in `key` and `value` of a BTF blob, so that bpftool prints fields. */
export interface MapTypes {
  readonly btf: Fd;
  readonly keyType: number;
  readonly valueType: number;
}

/** Creates a map that nothing has pinned yet. */
export function createMap(name: string, shape: MapShape, types?: MapTypes): Fd {
  const options = Buffer.alloc(48); // struct bpf_map_create_opts
  options.writeBigUInt64LE(48n, 0);
  if (types) {
    options.writeUInt32LE(types.btf, 8);
    options.writeUInt32LE(types.keyType, 12);
    options.writeUInt32LE(types.valueType, 16);
  }
  options.writeUInt32LE(shape.flags, 28);
  const { type, keySize, valueSize, maxEntries } = shape;
  return libbpf.mapCreate.call(
    `create map ${name}`,
    type,
    cString(name),
    keySize,
    valueSize,
    maxEntries,
    options,
  ) as Fd;
}

/** Loads a BTF blob (content of a .BTF section). */
export function loadBtf(btf: Uint8Array): Fd {
  return libbpf.btfLoad.call('load BTF', btf, btf.length, null) as Fd;
}

/** Pins a map, program or link at a path on a bpf file system. Fails with EEXIST where something is. */
export function pin(fd: Fd, path: string): void {
  libbpf.objPin.call(`pin ${path}`, fd, cString(path));
}

/** Opens what is pinned at a path, or undefined where nothing is. */
export function openPinned(path: string): Fd | undefined {
  const fd = libbpf.objGet.attempt(cString(path));
  if (fd === ENOENT) return undefined;
  if (fd < 0) throw new KernelError(libbpf.objGet.name, -fd, `open ${path}`);
  return fd as Fd;
}

export function mapInfo(fd: Fd): MapInfo {
  const info = objectInfo(fd, INFO_SIZE); // struct bpf_map_info
  const [type, id, keySize, valueSize, maxEntries, flags] = [0, 4, 8, 12, 16, 20].map((at) => info.readUInt32LE(at));
  const name = info.toString('latin1', 24, 40).replace(/\0.*$/s, '');
  return {
    type: type ?? 0,
    id: id ?? 0,
    keySize: keySize ?? 0,
    valueSize: valueSize ?? 0,
    maxEntries: maxEntries ?? 0,
    flags: flags ?? 0,
    name,
  };
}

/** The first `size` bytes of what BPF_OBJ_GET_INFO_BY_FD tells of a map, program or link; an older kernel leaves zeros. */
export function objectInfo(fd: Fd, size: number): Buffer {
  const info = Buffer.alloc(size);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(size);
  libbpf.objInfo.call('read object info', fd, info, length);
  return info;
}

/** Reads the value of `key` into `value`; false where the key is absent. */
export function lookupElement(fd: Fd, key: Uint8Array, value: Uint8Array): boolean {
  const result = libbpf.mapLookup.attempt(fd, key, value);
  if (result === ENOENT) return false;
  if (result < 0) throw new KernelError(libbpf.mapLookup.name, -result, 'look up element');
  return true;
}

/** Writes one element. False: NOEXIST met a present key, or EXIST an absent one. */
export function updateElement(fd: Fd, key: Uint8Array, value: Uint8Array, flag: UpdateFlag = UPDATE.ANY): boolean {
  const result = libbpf.mapUpdate.attempt(fd, key, value, flag);
  if ((result === EEXIST && flag === UPDATE.NOEXIST) || (result === ENOENT && flag === UPDATE.EXIST)) return false;
  if (result < 0) throw new KernelError(libbpf.mapUpdate.name, -result, 'update element');
  return true;
}

/** Deletes one element; false where the key was absent. */
export function deleteElement(fd: Fd, key: Uint8Array): boolean {
  const result = libbpf.mapDelete.attempt(fd, key);
  if (result === ENOENT) return false;
  if (result < 0) throw new KernelError(libbpf.mapDelete.name, -result, 'delete element');
  return true;
}

/** Writes the key after `key` (null: the first) to `next`; false at the end. */
export function nextKey(fd: Fd, key: Uint8Array | null, next: Uint8Array): boolean {
  const result = libbpf.mapNextKey.attempt(fd, key, next);
  if (result === ENOENT) return false;
  if (result < 0) throw new KernelError(libbpf.mapNextKey.name, -result, 'read next key');
  return true;
}

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;

/** A mapped map. The bytes must not be touched after dispose. */
export interface MappedMap extends Disposable {
  readonly bytes: Buffer;
}

/** Maps the whole value area (`size` bytes) of an ARRAY made with BPF_F_MMAPABLE: what is written there is in force at once. */
export function mapMemory(fd: Fd, size: number): MappedMap {
  const address = sys.mmap.call('map memory of map', null, size, PROT_READ_WRITE, MAP_SHARED, fd, 0) as Pointer;
  return {
    bytes: viewMemory(address, size),
    [Symbol.dispose]: () => void sys.munmap.call('unmap memory of map', address, size),
  };
}

/** Number of CPUs that the kernel may ever have: the number of values of a per-CPU element. */
export function possibleCpus(list: string = readFileSync('/sys/devices/system/cpu/possible', 'utf8')): number {
  return list
    .trim()
    .split(',')
    .map((range) => range.split('-').map(Number))
    .reduce((sum, [first = 0, last = first]) => sum + last - first + 1, 0);
}

/** Runs `use` with what is pinned at `path` and closes it again; undefined where nothing is pinned. */
export function withPinned<T>(path: string, use: (fd: Fd) => T): T | undefined {
  const fd = openPinned(path);
  if (fd === undefined) return undefined;
  try {
    return use(fd);
  } finally {
    closeFd(fd);
  }
}
