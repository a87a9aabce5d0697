/** The checksums of the packet tests, written anew and simply, so that they share no mistake with the programs. */
import { familyOf, type Ip, ipBytes } from '../../src/core/net.js';

/** RFC 1071: ones' complement sum of the 16-bit words, folded; an odd last byte is padded with zero. */
export function onesSum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += ((part[i] ?? 0) << 8) | (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** What belongs into a checksum field over these bytes, in which the field itself is zero. Only the last may be odd. */
export function internetChecksum(...parts: readonly Uint8Array[]): number {
  return ~onesSum(...parts) & 0xffff;
}

/** Does the sum over bytes with a filled in checksum come out as it must? */
export function sumsUp(...parts: readonly Uint8Array[]): boolean {
  return onesSum(...parts) === 0xffff;
}

/** The 4 or 16 bytes of an address as they stand in a header. */
export function addressBytes(ip: Ip): Uint8Array {
  return familyOf(ip) === 'v4' ? ipBytes(ip).subarray(12) : ipBytes(ip);
}

/** RFC 9293 section 3.1, RFC 8200 section 8.1. */
export function pseudoHeader(source: Ip, destination: Ip, protocol: number, length: number): Uint8Array {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(length, 0);
  tail.writeUInt32BE(protocol, 4);
  return Buffer.concat([addressBytes(source), addressBytes(destination), tail]);
}

/** CRC32c, least significant byte first: SCTP's checksum (RFC 9260 appendix A). */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}
