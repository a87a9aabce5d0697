/** A pinned map with types: the only way that Weir reads and writes its tables. */
import { join } from 'node:path';
import { WeirError } from '../errors.js';
import { KernelError } from '../loader/errors.js';
import {
  deleteElement,
  lookupElement,
  MAP_TYPE,
  mapInfo,
  openPinned,
  possibleCpus,
  UPDATE,
  updateElement,
  type UpdateFlag,
} from '../loader/kernel-map.js';
import { closeFd, type Fd } from '../loader/libbpf.js';
import { deleteAll, putAll, type RawBytes, type RawEntry, readAll, type ReadEntry } from './batch.js';
import type { MapLayout } from './codec.js';

/**
 * Opens the map pinned below `root`. Throws WEIR_NOT_INSTALLED where there is none and WEIR_LAYOUT where its type, key or
 * value differ from this program's; the number of entries is free.
 */
export function openTable<K, V>(root: string, layout: MapLayout<K, V>): Table<K, V> {
  const path = join(root, layout.name);
  const fd = openPinned(path);
  if (fd === undefined)
    throw new WeirError('WEIR_NOT_INSTALLED', `open table ${layout.name}: nothing is pinned at ${path}`);
  return new Table(fd, layout);
}

const CLOSED = -1 as Fd;

/** Owns the descriptor of a map. Not usable after dispose. */
export class Table<K, V> implements Disposable {
  readonly layout: MapLayout<K, V>;
  readonly maxEntries: number;
  /** CLOSED after dispose, so that a late call meets EBADF and not another file. */
  private fd: Fd;
  private readonly key: Buffer;
  private readonly value: Buffer;
  /** How many values an element has, and the bytes from one to the next. */
  private readonly copies: number;
  private readonly stride: number;

  /** Takes over `fd`, also when it throws. */
  constructor(fd: Fd, layout: MapLayout<K, V>) {
    this.fd = fd;
    this.layout = layout;
    try {
      this.maxEntries = checkShape(fd, layout);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    const perCpu = isPerCpu(layout.type);
    this.copies = perCpu ? possibleCpus() : 1;
    this.stride = perCpu ? Math.ceil(layout.valueSize / 8) * 8 : layout.valueSize;
    this.key = Buffer.alloc(layout.keySize);
    this.value = Buffer.alloc(this.stride * this.copies);
  }

  /** The value, or undefined where the key is absent. Per-CPU maps: the first CPU's; see `perCpu`. */
  get(key: K): V | undefined {
    this.layout.key.encode(key, this.key, 0);
    if (!lookupElement(this.fd, this.key, this.value)) return undefined;
    return this.layout.value.decode(this.value, 0);
  }

  /** The values of one element of a per-CPU map, by CPU; none where the key is absent. */
  perCpu(key: K): V[] {
    this.layout.key.encode(key, this.key, 0);
    if (!lookupElement(this.fd, this.key, this.value)) return [];
    return Array.from({ length: this.copies }, (_, cpu) => this.layout.value.decode(this.value, cpu * this.stride));
  }

  /** Writes one element (per-CPU maps: the same value for each CPU). Throws WEIR_FULL where there is no room. */
  set(key: K, value: V): void {
    this.write(key, value, UPDATE.ANY);
  }

  /** Writes one element unless the key is there; says whether it did. */
  add(key: K, value: V): boolean {
    return this.write(key, value, UPDATE.NOEXIST);
  }

  /** False where the key was absent. */
  delete(key: K): boolean {
    this.layout.key.encode(key, this.key, 0);
    return deleteElement(this.fd, this.key);
  }

  /** Writes many elements of encoded bytes in few calls. On failure the error says how many were written. */
  putEncoded(entries: readonly RawEntry[]): void {
    putAll(this.fd, this.sizes(), entries, `write ${this.layout.name}`);
  }

  /** Deletes many keys of encoded bytes; returns how many of them were there. */
  deleteEncoded(keys: readonly RawBytes[]): number {
    return deleteAll(this.fd, this.sizes(), keys, `delete from ${this.layout.name}`);
  }

  /** Everything, decoded. Per-CPU maps: the first CPU's values. */
  *entries(): Generator<[K, V]> {
    const { key, value } = this.layout;
    for (const raw of this.rawEntries()) yield [key.decode(raw.key, 0), value.decode(raw.value, 0)];
  }

  /** Everything as bytes; per-CPU maps: the values of all CPUs in a row, each padded to 8 bytes. */
  rawEntries(): Generator<ReadEntry> {
    return readAll(this.fd, this.sizes(), this.maxEntries, `read ${this.layout.name}`);
  }

  /** Every element of a per-CPU map with the values of all CPUs. */
  *entriesPerCpu(): Generator<[K, V[]]> {
    const { key, value } = this.layout;
    for (const raw of this.rawEntries()) {
      const values = Array.from({ length: this.copies }, (_, cpu) => value.decode(raw.value, cpu * this.stride));
      yield [key.decode(raw.key, 0), values];
    }
  }

  [Symbol.dispose](): void {
    if (this.fd !== CLOSED) closeFd(this.fd);
    this.fd = CLOSED;
  }

  private write(key: K, value: V, flag: UpdateFlag): boolean {
    this.layout.key.encode(key, this.key, 0);
    for (let cpu = 0; cpu < this.copies; cpu++) this.layout.value.encode(value, this.value, cpu * this.stride);
    try {
      return updateElement(this.fd, this.key, this.value, flag);
    } catch (error) {
      if (!(error instanceof KernelError) || (error.errno !== 'E2BIG' && error.errno !== 'ENOSPC')) throw error;
      const message = `write ${this.layout.name}: its ${this.maxEntries} entries are in use`;
      throw new WeirError('WEIR_FULL', message, { cause: error });
    }
  }

  private sizes(): { keySize: number; valueSize: number } {
    return { keySize: this.layout.keySize, valueSize: this.stride * this.copies };
  }
}

function checkShape(fd: Fd, layout: MapLayout<unknown, unknown>): number {
  const info = mapInfo(fd);
  for (const field of ['type', 'keySize', 'valueSize'] as const) {
    if (info[field] === layout[field]) continue;
    throw new WeirError(
      'WEIR_LAYOUT',
      `open table ${layout.name}: ${field} is ${info[field]} in the kernel and ${layout[field]} in this program`,
      { details: { map: layout.name, field, kernel: info[field], program: layout[field] } },
    );
  }
  return info.maxEntries;
}

function isPerCpu(type: number): boolean {
  return type === MAP_TYPE.PERCPU_ARRAY || type === MAP_TYPE.PERCPU_HASH || type === MAP_TYPE.LRU_PERCPU_HASH;
}
