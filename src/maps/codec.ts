/**
 * Building blocks of the generated codecs (layout.ts): the few conversions that are more than reading an integer.
 * Integers are little endian, as on every machine that Weir is built for; __be16 and __be32 are in network order.
 */
import { type Ip, ipBytes, ipFromBytes } from '../core/net.js';

/** Turns values into the bytes of a C type and back. `encode` writes every byte of `size`, padding as zero. */
export interface Codec<T> {
  /** The C struct, or the integer type. */
  readonly name: string;
  readonly size: number;
  encode(value: T, buffer: Buffer, offset: number): void;
  decode(buffer: Buffer, offset: number): T;
}

/** A map as the object declares it, with the codecs of its keys and values. */
export interface MapLayout<K, V> {
  /** Also the name of its pin. */
  readonly name: string;
  /** enum bpf_map_type */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly key: Codec<K>;
  readonly value: Codec<V>;
}

export const u32Codec: Codec<number> = {
  name: '__u32',
  size: 4,
  encode: (value, buffer, offset) => void buffer.writeUInt32LE(value, offset),
  decode: (buffer, offset) => buffer.readUInt32LE(offset),
};

export const u64Codec: Codec<bigint> = {
  name: '__u64',
  size: 8,
  encode: (value, buffer, offset) => void buffer.writeBigUInt64LE(value, offset),
  decode: (buffer, offset) => buffer.readBigUInt64LE(offset),
};

/** A bare address as a key. */
export const ipCodec: Codec<Ip> = {
  name: 'ip',
  size: 16,
  encode: (value, buffer, offset) => writeIp(buffer, offset, value),
  decode: readIp,
};

/** The bytes of one value, in a buffer of their own. */
export function encodeOne<T>(codec: Codec<T>, value: T): Buffer {
  const buffer = Buffer.alloc(codec.size);
  codec.encode(value, buffer, 0);
  return buffer;
}

export function writeIp(buffer: Buffer, offset: number, ip: Ip): void {
  buffer.set(ipBytes(ip), offset);
}

export function readIp(buffer: Buffer, offset: number): Ip {
  return ipFromBytes(buffer.subarray(offset, offset + 16));
}

/** Throws a RangeError where the length is not exactly `size`. */
export function writeBytes(buffer: Buffer, offset: number, size: number, bytes: Uint8Array): void {
  if (bytes.length !== size) throw new RangeError(`${bytes.length} bytes where the layout has ${size}`);
  buffer.set(bytes, offset);
}

/** A copy, independent of the buffer. */
export function readBytes(buffer: Buffer, offset: number, size: number): Uint8Array {
  return Uint8Array.from(buffer.subarray(offset, offset + size));
}

/** UTF-8, NUL terminated: what does not fit is cut at a character's boundary. */
export function writeText(buffer: Buffer, offset: number, size: number, text: string): void {
  const written = buffer.write(text, offset, size - 1, 'utf8');
  buffer.fill(0, offset + written, offset + size);
}

export function readText(buffer: Buffer, offset: number, size: number): string {
  const end = buffer.indexOf(0, offset);
  return buffer.toString('utf8', offset, end < 0 || end > offset + size ? offset + size : end);
}
