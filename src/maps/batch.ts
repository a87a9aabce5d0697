/** Whole maps of raw bytes in few system calls: chunked writes, deletes and reads. */
import { KernelError } from '../loader/errors.js';
import { deleteBatch, lookupBatch, updateBatch } from '../loader/kernel-batch.js';
import { lookupElement, nextKey } from '../loader/kernel-map.js';
import type { Fd } from '../loader/libbpf.js';

/** Bytes as such, or as text of one character a byte (latin1). */
export type RawBytes = Uint8Array | string;

export interface RawEntry {
  readonly key: RawBytes;
  readonly value: RawBytes;
}

/** An entry as read: each is a slice of memory that nothing else writes to. */
export interface ReadEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** Sizes of the packed keys and values, in bytes. */
export interface Sizes {
  readonly keySize: number;
  readonly valueSize: number;
}

/** Bytes of keys and values that one system call carries. */
const CHUNK_BYTES = 1 << 20;
const ENOENT = 2;
const EINTR = 4;
const ENOSPC = 28;
const ENOTSUPP = 524;

function chunkLength(sizes: Sizes, wanted: number): number {
  return Math.max(1, Math.min(wanted, Math.floor(CHUNK_BYTES / (sizes.keySize + sizes.valueSize))));
}

/** Writes all entries. Where the kernel stops early, `details.applied` of the error says how many are in. */
export function putAll(fd: Fd, sizes: Sizes, entries: readonly RawEntry[], action: string): void {
  const length = chunkLength(sizes, entries.length);
  const keys = Buffer.alloc(length * sizes.keySize);
  const values = Buffer.alloc(length * sizes.valueSize);
  for (let start = 0; start < entries.length; start += length) {
    const count = Math.min(length, entries.length - start);
    for (let i = 0; i < count; i++) {
      const entry = entries[start + i];
      if (!entry) break;
      place(keys, i * sizes.keySize, entry.key, sizes.keySize);
      place(values, i * sizes.valueSize, entry.value, sizes.valueSize);
    }
    const { done, errno } = updateBatch(fd, keys, values, count);
    if (errno !== 0) throw stopped('bpf_map_update_batch', errno, action, start + done, entries.length);
  }
}

/** Deletes all keys; those that are absent are passed over. Returns how many were there. */
export function deleteAll(fd: Fd, sizes: Sizes, keys: readonly RawBytes[], action: string): number {
  const length = chunkLength({ ...sizes, valueSize: 0 }, keys.length);
  const packed = Buffer.alloc(length * sizes.keySize);
  let deleted = 0;
  for (let start = 0; start < keys.length;) {
    const count = Math.min(length, keys.length - start);
    for (let i = 0; i < count; i++) place(packed, i * sizes.keySize, keys[start + i] ?? packed, sizes.keySize);
    const { done, errno } = deleteBatch(fd, packed, count);
    if (errno !== 0 && errno !== ENOENT) throw stopped('bpf_map_delete_batch', errno, action, deleted, keys.length);
    deleted += done;
    start += errno === ENOENT ? done + 1 : done;
  }
  return deleted;
}

/**
 * All entries. What programs change meanwhile may or may not be
 * seen; nothing is seen twice.
 */
export function* readAll(fd: Fd, sizes: Sizes, maxEntries: number, action: string): Generator<ReadEntry> {
  let length = Math.min(chunkLength(sizes, maxEntries), maxEntries);
  let position: Buffer | null = null;
  for (;;) {
    const keys = Buffer.alloc(length * sizes.keySize);
    const values = Buffer.alloc(length * sizes.valueSize);
    const next = Buffer.alloc(Math.max(8, sizes.keySize));
    const { done, errno } = lookupBatch(fd, position, next, keys, values, length);
    if (errno === ENOTSUPP) {
      yield* walk(fd, sizes);
      return;
    }
    if (errno === EINTR) continue; // an entry vanished under the reader three times: same place again
    if (errno === ENOSPC)
      length *= 2; // one bucket holds more than this
    else if (errno !== 0 && errno !== ENOENT) throw new KernelError('bpf_map_lookup_batch', errno, action);
    else {
      yield* slices(keys, values, done, sizes);
      if (errno === ENOENT) return;
      position = next;
    }
  }
}

function* slices(keys: Buffer, values: Buffer, count: number, { keySize, valueSize }: Sizes): Generator<ReadEntry> {
  for (let i = 0; i < count; i++) {
    yield {
      key: keys.subarray(i * keySize, (i + 1) * keySize),
      value: values.subarray(i * valueSize, (i + 1) * valueSize),
    };
  }
}

/** One by one, for maps without batch operations. */
function* walk(fd: Fd, sizes: Sizes): Generator<ReadEntry> {
  let key: Buffer | null = null;
  for (;;) {
    const next: Buffer = Buffer.alloc(sizes.keySize);
    if (!nextKey(fd, key, next)) return;
    const value = Buffer.alloc(sizes.valueSize);
    if (lookupElement(fd, next, value)) yield { key: next, value };
    key = next;
  }
}

function place(target: Buffer, offset: number, bytes: RawBytes, size: number): void {
  if (bytes.length !== size) throw new RangeError(`${bytes.length} bytes where the map has ${size}`);
  if (typeof bytes === 'string') target.write(bytes, offset, 'latin1');
  else target.set(bytes, offset);
}

function stopped(call: string, errno: number, action: string, applied: number, of: number): KernelError {
  return new KernelError(call, errno, `${action} (${applied} of ${of} done)`, full(errno), { applied });
}

/** E2BIG and ENOSPC on a write: no room. */
function full(errno: number): 'WEIR_FULL' | undefined {
  return errno === 7 || errno === ENOSPC ? 'WEIR_FULL' : undefined;
}
