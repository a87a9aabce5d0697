/**
 * Addresses, prefixes and ports. An address travels as its canonical text (`Ip`), which is compact to hold by the hundred
 * thousand and compares with ===; it becomes 16 bytes (IPv4 as ::ffff:a.b.c.d, RFC 4291 section 2.5.5.2) at the map border.
 */

declare const brand: unique symbol;
/** Canonical text of an address: dotted quad, or RFC 5952. Made only by parseIp and ipFromBytes. */
export type Ip = string & { readonly [brand]: 'Ip' };
export type Family = 'v4' | 'v6';

export interface Prefix {
  readonly address: Ip;
  readonly bits: number;
}

export const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;
export type Protocol = (typeof PROTOCOLS)[number];
/** IANA protocol numbers. */
export const PROTOCOL_NUMBER: Readonly<Record<Protocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

export function protocolName(number: number): string {
  return (
    PROTOCOLS.find((name) => PROTOCOL_NUMBER[name] === number) ?? (number === 1 || number === 58 ? 'ICMP' : `${number}`)
  );
}

/** The canonical address, or undefined where the text is none. Leading zeros and IPv4-mapped IPv6 are refused. */
export function parseIp(text: string): Ip | undefined {
  if (!text.includes(':')) return quadOf(text) === undefined ? undefined : (text as Ip);
  const bytes = parseV6(text);
  return bytes && ipFromBytes(bytes);
}

export function familyOf(ip: Ip): Family {
  return ip.includes(':') ? 'v6' : 'v4';
}

/** 16 bytes in network order. */
export function ipBytes(ip: Ip): Uint8Array {
  const bytes = ip.includes(':') ? parseV6(ip) : parseV4(ip);
  if (!bytes) throw new TypeError(`not an address: ${ip}`);
  return bytes;
}

export function ipFromBytes(bytes: Uint8Array): Ip {
  return (isMapped(bytes) ? bytes.subarray(12, 16).join('.') : formatV6(bytes)) as Ip;
}

/** `ADDRESS/BITS` with the host bits cleared, or undefined. A bare address is a prefix of its full length. */
export function parsePrefix(text: string): Prefix | undefined {
  const [addressText = '', bitsText, ...rest] = text.trim().split('/');
  const address = parseIp(addressText);
  if (!address || rest.length > 0) return undefined;
  const width = familyOf(address) === 'v4' ? 32 : 128;
  const bits = bitsText === undefined ? width : parseDecimal(bitsText, 3);
  if (bits === undefined || bits > width) return undefined;
  return { address: ipFromBytes(maskBytes(ipBytes(address), bits + (128 - width))), bits };
}

export function formatPrefix(prefix: Prefix): string {
  return `${prefix.address}/${prefix.bits}`;
}

/** Length of the prefix in the 128-bit space, where IPv4 begins at bit 96. */
export function mappedBits(prefix: Prefix): number {
  return familyOf(prefix.address) === 'v4' ? prefix.bits + 96 : prefix.bits;
}

export function prefixContains(prefix: Prefix, ip: Ip): boolean {
  if (familyOf(prefix.address) !== familyOf(ip)) return false;
  const masked = maskBytes(ipBytes(ip), mappedBits(prefix));
  return ipFromBytes(masked) === prefix.address;
}

/** `address:port`, with brackets around IPv6. */
export function formatSocket(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** 16 bytes: ones where the prefix decides, in the 128-bit space. */
export function maskOf(prefix: Prefix): Uint8Array {
  return maskBytes(new Uint8Array(16).fill(0xff), mappedBits(prefix));
}

function maskBytes(bytes: Uint8Array, bits: number): Uint8Array {
  const out = Uint8Array.from(bytes);
  for (let i = 0; i < 16; i++) {
    const keep = Math.min(8, Math.max(0, bits - i * 8));
    out[i] = (out[i] ?? 0) & (0xff00 >> keep) & 0xff;
  }
  return out;
}

function isMapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

function parseDecimal(text: string, digits: number): number | undefined {
  if (text.length === 0 || text.length > digits || !/^\d+$/.test(text)) return undefined;
  if (text.length > 1 && text.startsWith('0')) return undefined;
  return Number(text);
}

function parseV4(text: string): Uint8Array | undefined {
  const quad = quadOf(text);
  if (quad === undefined) return undefined;
  return Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, quad >>> 24, quad >>> 16, quad >>> 8, quad);
}

/** A dotted quad as one number; without a list or a pattern, for there are hundreds of thousands of them. */
function quadOf(text: string): number | undefined {
  let quad = 0;
  let value = -1; // no digit yet
  let dots = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : DOT;
    if (code === DOT) {
      if (value < 0 || value > 255 || dots++ > 3) return undefined;
      quad = (quad << 8) | value;
      value = -1;
    } else {
      if (code < ZERO || code > ZERO + 9 || value === 0 || value > 255) return undefined;
      value = Math.max(value, 0) * 10 + code - ZERO;
    }
  }
  return dots === 4 ? quad >>> 0 : undefined;
}
const DOT = 46;
const ZERO = 48;

function parseV6(text: string): Uint8Array | undefined {
  const bytes = v6Bytes(text);
  return bytes && isMapped(bytes) ? undefined : bytes;
}

/** 16 bytes in network order of any IPv6 text, those in which IPv4 addresses count included. */
export function v6Bytes(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? '', halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? '', true) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const bytes = new Uint8Array(16);
  groups.forEach((group, i) => {
    bytes[i * 2] = group >> 8;
    bytes[i * 2 + 1] = group & 0xff;
  });
  return bytes;
}

/** The 16-bit groups of one side of `::`; a dotted quad may end the one that ends the address. */
function parseGroups(text: string, last: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    if (last && part.includes('.') && i === parts.length - 1) {
      const quad = parseV4(part)?.subarray(12);
      if (!quad) return undefined;
      groups.push(((quad[0] ?? 0) << 8) | (quad[1] ?? 0), ((quad[2] ?? 0) << 8) | (quad[3] ?? 0));
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      groups.push(parseInt(part, 16));
    }
  }
  return groups;
}

/** RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups (the first of equals) as `::`. */
export function formatV6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[i * 2] ?? 0) << 8) | (bytes[i * 2 + 1] ?? 0));
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.start < 0) return hex.join(':');
  return `${hex.slice(0, best.start).join(':')}::${hex.slice(best.start + best.length).join(':')}`;
}
