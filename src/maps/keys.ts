/** How numbers, their names and the words of slots are read from rows. */
import type { DesiredBackend } from '../core/desired.js';
import type { Row } from '../core/plan.js';
import type { Backend } from './layout.js';

/** As a deadline of a backend, s. */
export const FOREVER = 0xffff_ffff;

/** The number that is a row's key. */
export function idOf(row: Row): number {
  return Buffer.from(row.key, 'latin1').readUInt32LE(0);
}

/** What the number of a backend stands for, among all services. */
export function backendName(service: number, backend: Pick<DesiredBackend | Backend, 'address' | 'port'>): string {
  return `${service} ${backend.address} ${backend.port}`;
}

/** The bytes behind words, not copied. */
export function asBytes(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}
