/** The batch operations of maps: thousands of packed elements a call. */
import type { Fd } from './libbpf.js';
import { libbpf } from './native.js';

/** What a batch did: `done` elements, then `errno` (0: all of them). */
export interface BatchResult {
  readonly done: number;
  readonly errno: number;
}

/** 0, ENOENT, EINTR, E2BIG, EEXIST, ENOSPC: the answers after which the kernel has written the count. */
const COUNTED: readonly number[] = [0, 2, 4, 7, 17, 28];
const count = Buffer.alloc(4);

/** Writes `entries` elements from packed keys and values (per-CPU maps: all CPUs' values of an element in a row). */
export function updateBatch(fd: Fd, keys: Buffer, values: Buffer, entries: number): BatchResult {
  count.writeUInt32LE(entries);
  return batchResult(libbpf.mapUpdateBatch.attempt(fd, keys, values, count, null));
}

/** Deletes `entries` elements. Stops at the first absent key with ENOENT. */
export function deleteBatch(fd: Fd, keys: Buffer, entries: number): BatchResult {
  count.writeUInt32LE(entries);
  return batchResult(libbpf.mapDeleteBatch.attempt(fd, keys, count, null));
}

/**
 * Reads up to `entries` elements after `position` (null: from the start) and writes where to go on to `next`.
 * ENOENT with `done` elements is the end of the map; ENOSPC: `entries` is smaller than one bucket.
 */
export function lookupBatch(
  fd: Fd,
  position: Buffer | null,
  next: Buffer,
  keys: Buffer,
  values: Buffer,
  entries: number,
): BatchResult {
  count.writeUInt32LE(entries);
  return batchResult(libbpf.mapLookupBatch.attempt(fd, position, next, keys, values, count, null));
}

function batchResult(result: number): BatchResult {
  const errno = result < 0 ? -result : 0;
  return { done: COUNTED.includes(errno) ? count.readUInt32LE() : 0, errno };
}
