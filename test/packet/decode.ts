/** Takes a frame apart into named fields and verifies every checksum, so that a test compares fields and reads a diff. */
import { type Ip, ipFromBytes, PROTOCOL_NUMBER } from '../../src/core/net.js';
import { crc32c, pseudoHeader, sumsUp } from './checksum.js';
import { ETHERNET, ETHERTYPE, IP_PROTOCOL, TCP_FLAGS } from './frames.js';

/** A layer by its fields; layers nest from the outside in. */
export interface Fields {
  readonly [field: string]: string | number | boolean | Fields;
}

type Checksum = 'right' | 'wrong' | 'none' | 'unverifiable';

export function decode(frame: Buffer): Fields {
  const type = frame.readUInt16BE(12);
  const ether = { destination: mac(frame, 0), source: mac(frame, 6), type: `0x${type.toString(16).padStart(4, '0')}` };
  const rest = frame.subarray(ETHERNET);
  if (type !== ETHERTYPE.v4 && type !== ETHERTYPE.v6) return { ether, data: rest.toString('hex') };
  return { ether, ...network(rest, 'whole') };
}

/** whole: the packet's end must be there; quoted: an ICMP error may have cut it, and its transport checksum is nobody's. */
function network(bytes: Buffer, extent: 'whole' | 'quoted'): Fields {
  const version = (bytes[0] ?? 0) >> 4;
  if (version === 4 && bytes.length >= 20) return networkV4(bytes, extent);
  if (version === 6 && bytes.length >= 40) return networkV6(bytes, extent);
  return { unreadable: bytes.toString('hex') };
}

function networkV4(bytes: Buffer, extent: 'whole' | 'quoted'): Fields {
  const size = ((bytes[0] ?? 0) & 15) * 4;
  const length = bytes.readUInt16BE(2);
  const fragment = bytes.readUInt16BE(6);
  const source = mapped(bytes.subarray(12, 16));
  const destination = mapped(bytes.subarray(16, 20));
  const protocol = bytes.readUInt8(9);
  const ip = {
    version: 4,
    source,
    destination,
    protocol,
    hops: bytes.readUInt8(8),
    tos: bytes.readUInt8(1),
    length,
    id: bytes.readUInt16BE(4),
    dontFragment: (fragment & 0x4000) !== 0,
    moreFragments: (fragment & 0x2000) !== 0,
    fragmentOffset: fragment & 0x1fff,
    options: bytes.toString('hex', 20, size),
    checksum: sumsUp(bytes.subarray(0, size)) ? 'right' : 'wrong',
  };
  const whole = (fragment & 0x3fff) === 0;
  return {
    ip,
    ...above(
      bytes,
      size,
      length,
      { source, destination, protocol },
      whole ? extent : 'quoted',
      (fragment & 0x1fff) !== 0,
    ),
  };
}

function networkV6(bytes: Buffer, extent: 'whole' | 'quoted'): Fields {
  const length = 40 + bytes.readUInt16BE(4);
  const source = ipFromBytes(bytes.subarray(8, 24));
  const destination = ipFromBytes(bytes.subarray(24, 40));
  const { protocol, at, fragment } = extensions(bytes);
  const ip = {
    version: 6,
    source,
    destination,
    protocol,
    hops: bytes.readUInt8(7),
    tos: (bytes.readUInt16BE(0) >> 4) & 0xff,
    flowLabel: bytes.readUInt32BE(0) & 0xfffff,
    length,
    extensions: bytes.toString('hex', 40, at),
  };
  const whole = fragment === undefined || (fragment & 0xfff9) === 0;
  return {
    ip,
    ...above(bytes, at, length, { source, destination, protocol }, whole ? extent : 'quoted', (fragment ?? 0) >= 8),
  };
}

const EXTENSIONS: readonly number[] = [
  IP_PROTOCOL.hopByHop,
  IP_PROTOCOL.routing,
  IP_PROTOCOL.fragment,
  IP_PROTOCOL.auth,
  IP_PROTOCOL.destination,
];

function extensions(bytes: Buffer): { protocol: number; at: number; fragment: number | undefined } {
  let protocol = bytes.readUInt8(6);
  let at = 40;
  let fragment: number | undefined;
  while (EXTENSIONS.includes(protocol) && at + 8 <= bytes.length) {
    const size = bytes[at + 1] ?? 0;
    if (protocol === IP_PROTOCOL.fragment) fragment = bytes.readUInt16BE(at + 2);
    const next = bytes.readUInt8(at);
    at += protocol === IP_PROTOCOL.fragment ? 8 : protocol === IP_PROTOCOL.auth ? (size + 2) * 4 : (size + 1) * 8;
    protocol = next;
  }
  return { protocol, at, fragment };
}

interface Ends {
  readonly source: Ip;
  readonly destination: Ip;
  readonly protocol: number;
}

function above(
  bytes: Buffer,
  at: number,
  length: number,
  ends: Ends,
  extent: 'whole' | 'quoted',
  later: boolean,
): Fields {
  const payload = bytes.subarray(at, length);
  const behind = bytes.length > length ? { behind: bytes.toString('hex', length) } : {};
  if (later || (extent === 'whole' && bytes.length < length)) return { data: payload.toString('hex'), ...behind };
  return { ...transport(payload, ends, extent), ...behind };
}

function transport(bytes: Buffer, ends: Ends, extent: 'whole' | 'quoted'): Fields {
  const sum = (): Checksum => {
    if (extent === 'quoted') return 'unverifiable';
    return sumsUp(pseudoHeader(ends.source, ends.destination, ends.protocol, bytes.length), bytes) ? 'right' : 'wrong';
  };
  switch (ends.protocol) {
    case PROTOCOL_NUMBER.TCP:
      return bytes.length < 20 ? ports('tcp', bytes) : tcpFields(bytes, sum());
    case PROTOCOL_NUMBER.UDP:
      return bytes.length < 8 ? ports('udp', bytes) : udpFields(bytes, bytes.readUInt16BE(6) === 0 ? 'none' : sum());
    case PROTOCOL_NUMBER.SCTP:
      return bytes.length < 12 ? ports('sctp', bytes) : sctpFields(bytes, extent);
    case IP_PROTOCOL.icmp:
      return bytes.length < 8
        ? ports('icmp', bytes)
        : icmpFields(bytes, sumsUp(bytes) ? 'right' : 'wrong', [3, 11, 12]);
    case IP_PROTOCOL.icmp6:
      return bytes.length < 8 ? ports('icmp', bytes) : icmpFields(bytes, sum(), [1, 2, 3, 4]);
    case IP_PROTOCOL.ipip:
    case IP_PROTOCOL.ip6ip6:
      return { inner: network(bytes, extent) };
    default:
      return { data: bytes.toString('hex') };
  }
}

/** The beginning of a header that is cut. */
function ports(name: string, bytes: Buffer): Fields {
  const [source, destination] = bytes.length >= 4 ? [bytes.readUInt16BE(0), bytes.readUInt16BE(2)] : [0, 0];
  return { [name]: { source, destination, cut: bytes.toString('hex', 4) } };
}

function tcpFields(bytes: Buffer, checksum: Checksum): Fields {
  const size = ((bytes[12] ?? 0) >> 4) * 4;
  const flags = TCP_FLAGS.filter((_, bit) => ((bytes[13] ?? 0) >> bit) & 1).join(' ');
  const tcp = {
    source: bytes.readUInt16BE(0),
    destination: bytes.readUInt16BE(2),
    sequence: bytes.readUInt32BE(4),
    acknowledgement: bytes.readUInt32BE(8),
    flags,
    window: bytes.readUInt16BE(14),
    urgent: bytes.readUInt16BE(18),
    options: bytes.toString('hex', 20, size),
    checksum,
  };
  return { tcp, data: bytes.toString('hex', size) };
}

function udpFields(bytes: Buffer, checksum: Checksum): Fields {
  const udp = {
    source: bytes.readUInt16BE(0),
    destination: bytes.readUInt16BE(2),
    length: bytes.readUInt16BE(4),
    checksum,
  };
  return { udp, data: bytes.toString('hex', 8) };
}

function sctpFields(bytes: Buffer, extent: 'whole' | 'quoted'): Fields {
  const zeroed = Buffer.from(bytes);
  zeroed.writeUInt32LE(0, 8);
  const right = bytes.readUInt32LE(8) === crc32c(zeroed);
  const checksum = extent === 'quoted' ? 'unverifiable' : right ? 'right' : 'wrong';
  const sctp = {
    source: bytes.readUInt16BE(0),
    destination: bytes.readUInt16BE(2),
    tag: bytes.readUInt32BE(4),
    checksum,
  };
  return { sctp, data: bytes.toString('hex', 12) };
}

function icmpFields(bytes: Buffer, checksum: Checksum, errors: readonly number[]): Fields {
  const type = bytes.readUInt8(0);
  const icmp = { type, code: bytes.readUInt8(1), rest: bytes.readUInt32BE(4), checksum };
  const body = bytes.subarray(8);
  return errors.includes(type) ? { icmp, quote: network(body, 'quoted') } : { icmp, data: body.toString('hex') };
}

function mapped(four: Uint8Array): Ip {
  return ipFromBytes(Buffer.concat([Buffer.from('00000000000000000000ffff', 'hex'), four]));
}

function mac(frame: Buffer, at: number): string {
  return [...frame.subarray(at, at + 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
