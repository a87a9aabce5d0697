/**
 * Packets for the programs to work on, and the ones expected of them. A Packet never changes: every method returns another
 * one. Lengths and checksums are computed when the bytes are asked for.
 */
import { familyOf, type Ip, PROTOCOL_NUMBER } from '../../src/core/net.js';
import { addressBytes, crc32c, internetChecksum, pseudoHeader } from './checksum.js';

/** One end of a flow. */
export interface End {
  readonly ip: Ip;
  readonly port: number;
}

export const TCP_FLAGS = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'] as const;
export type TcpFlag = (typeof TCP_FLAGS)[number];

/** Protocol numbers that PROTOCOL_NUMBER lacks, RFC 8200 section 4 for the extension headers. */
export const IP_PROTOCOL = {
  hopByHop: 0,
  icmp: 1,
  ipip: 4,
  ip6ip6: 41,
  routing: 43,
  fragment: 44,
  gre: 47,
  auth: 51,
  icmp6: 58,
  destination: 60,
} as const;

export const ETHERTYPE = { v4: 0x0800, v6: 0x86dd, arp: 0x0806 } as const;

/** An IPv6 extension header of so many bytes (8, 16, ...; the fragment header has 8). */
export interface Extension {
  readonly type: number;
  readonly size: number;
}

interface Fragment {
  /** In units of 8 bytes. */
  readonly offset: number;
  readonly more: boolean;
}

interface Network {
  readonly source: Ip;
  readonly destination: Ip;
  readonly hops: number;
  readonly tos: number;
  readonly flowLabel: number;
  readonly id: number;
  readonly df: boolean;
  readonly options: Uint8Array;
  readonly extensions: readonly Extension[];
  readonly fragment: Fragment | undefined;
}

type Transport =
  | { readonly kind: 'tcp'; readonly source: number; readonly destination: number; readonly tcp: TcpFields }
  | { readonly kind: 'udp'; readonly source: number; readonly destination: number; readonly checksum: boolean }
  | { readonly kind: 'sctp'; readonly source: number; readonly destination: number; readonly tag: number }
  | { readonly kind: 'icmp'; readonly type: number; readonly code: number; readonly rest: number }
  | { readonly kind: 'raw'; readonly protocol: number };

interface TcpFields {
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: readonly TcpFlag[];
  readonly window: number;
  readonly options: Uint8Array;
}

interface State {
  readonly ether: { readonly source: string; readonly destination: string };
  readonly network: Network;
  readonly transport: Transport;
  readonly data: Uint8Array;
  /** Applied to the finished frame: what no sane sender would send. */
  readonly damage: readonly ((frame: Buffer) => Buffer)[];
}

/** The MAC addresses of a frame that nobody has addressed yet. */
const SOMEBODY = { source: '02:00:00:00:0a:0a', destination: '02:00:00:00:0b:0b' };

export function tcp(from: End, to: End, ...flags: readonly TcpFlag[]): Packet {
  const fields = { sequence: 1000, acknowledgement: 0, flags, window: 64240, options: new Uint8Array() };
  return packet(from.ip, to.ip, { kind: 'tcp', source: from.port, destination: to.port, tcp: fields });
}

export function udp(from: End, to: End, data = 'question'): Packet {
  return packet(from.ip, to.ip, { kind: 'udp', source: from.port, destination: to.port, checksum: true }).data(data);
}

export function sctp(from: End, to: End): Packet {
  const chunk = Buffer.from('010000140000000100010000000a000a00000001', 'hex'); // INIT
  return packet(from.ip, to.ip, { kind: 'sctp', source: from.port, destination: to.port, tag: 0 }).data(chunk);
}

/** ICMP or ICMPv6, by the family of the addresses. */
export function icmp(from: Ip, to: Ip, type: number, code: number, rest = 0): Packet {
  return packet(from, to, { kind: 'icmp', type, code, rest });
}

/** An ICMP error about a packet, as it was seen where the error is made; bytes: how much of it is quoted. */
export function icmpError(from: Ip, to: Ip, error: IcmpError, about: Packet, bytes = 1000): Packet {
  const quote = about.network().subarray(0, bytes);
  const kind = ICMP_ERRORS[error.name][familyOf(from)];
  return icmp(from, to, kind.type, kind.code, error.mtu ?? 0).data(quote);
}

export interface IcmpError {
  readonly name: keyof typeof ICMP_ERRORS;
  readonly mtu?: number;
}

/** RFC 792 and RFC 4443. */
export const ICMP_ERRORS = {
  'too big': { v4: { type: 3, code: 4 }, v6: { type: 2, code: 0 } },
  'port unreachable': { v4: { type: 3, code: 3 }, v6: { type: 1, code: 4 } },
  'time exceeded': { v4: { type: 11, code: 0 }, v6: { type: 3, code: 0 } },
} as const;

/** Another packet inside IPIP or IP6IP6. */
export function tunnelled(from: Ip, to: Ip, inner: Packet): Packet {
  const protocol = familyOf(inner.source.ip) === 'v4' ? IP_PROTOCOL.ipip : IP_PROTOCOL.ip6ip6;
  return packet(from, to, { kind: 'raw', protocol }).data(inner.network());
}

/** Some other protocol; of a later fragment its bytes. */
export function other(from: Ip, to: Ip, protocol: number, data: string | Uint8Array = 'data'): Packet {
  return packet(from, to, { kind: 'raw', protocol }).data(data);
}

function packet(source: Ip, destination: Ip, transport: Transport): Packet {
  const network: Network = {
    source,
    destination,
    hops: 64,
    tos: 0,
    flowLabel: 0,
    id: 0x1234,
    df: true,
    options: new Uint8Array(),
    extensions: [],
    fragment: undefined,
  };
  return new Packet({ ether: SOMEBODY, network, transport, data: new Uint8Array(), damage: [] });
}

/** TCP options, RFC 9293 section 3.1. */
export function segmentSize(bytes: number): Uint8Array {
  return Uint8Array.of(2, 4, bytes >> 8, bytes & 0xff);
}
export const NO_OPERATION = Uint8Array.of(1);
export const TIMESTAMPS = Uint8Array.of(8, 10, 0, 0, 0, 1, 0, 0, 0, 2);
export const SACK_PERMITTED = Uint8Array.of(4, 2);

export class Packet {
  private readonly state: State;

  constructor(state: State) {
    this.state = state;
  }

  get source(): End {
    const { network, transport } = this.state;
    return { ip: network.source, port: 'source' in transport ? transport.source : 0 };
  }

  get destination(): End {
    const { network, transport } = this.state;
    return { ip: network.destination, port: 'destination' in transport ? transport.destination : 0 };
  }

  get protocol(): number {
    const { kind } = this.state.transport;
    if (this.state.transport.kind === 'raw') return this.state.transport.protocol;
    if (kind === 'icmp') return familyOf(this.source.ip) === 'v4' ? IP_PROTOCOL.icmp : IP_PROTOCOL.icmp6;
    return PROTOCOL_NUMBER[kind.toUpperCase() as 'TCP' | 'UDP' | 'SCTP'];
  }

  get hopLimit(): number {
    return this.state.network.hops;
  }

  /** MAC addresses of sender and receiver. */
  over(source: string, destination: string): Packet {
    return this.with({ ether: { source, destination } });
  }

  /** As on the way back of a frame: the MAC addresses exchanged. */
  turned(): Packet {
    const { source, destination } = this.state.ether;
    return this.over(destination, source);
  }

  from({ ip, port }: End): Packet {
    const { network, transport } = this.state;
    const changed = 'source' in transport ? { ...transport, source: port } : transport;
    return this.with({ network: { ...network, source: ip }, transport: changed });
  }

  to({ ip, port }: End): Packet {
    const { network, transport } = this.state;
    const changed = 'destination' in transport ? { ...transport, destination: port } : transport;
    return this.with({ network: { ...network, destination: ip }, transport: changed });
  }

  hops(hops: number): Packet {
    return this.inNetwork({ hops });
  }

  /** As the next router sends it. */
  routed(): Packet {
    return this.hops(this.hopLimit - 1);
  }

  /** Type of service, or traffic class with a flow label. */
  tos(tos: number, flowLabel = 0): Packet {
    return this.inNetwork({ tos, flowLabel });
  }

  identification(id: number): Packet {
    return this.inNetwork({ id });
  }

  mayBeFragmented(): Packet {
    return this.inNetwork({ df: false });
  }

  /** IPv4 options: a multiple of 4 bytes. */
  ipOptions(options: Uint8Array): Packet {
    return this.inNetwork({ options });
  }

  extensions(...extensions: readonly Extension[]): Packet {
    return this.inNetwork({ extensions });
  }

  /** Only what is above is in the packet: a later fragment is made by other(). Offset in units of 8 bytes. */
  fragment(offset: number, more: boolean): Packet {
    return this.inNetwork({ df: false, fragment: { offset, more } });
  }

  flags(...flags: readonly TcpFlag[]): Packet {
    return this.inTcp({ flags });
  }

  sequence(sequence: number): Packet {
    return this.inTcp({ sequence });
  }

  acknowledges(acknowledgement: number): Packet {
    return this.inTcp({ acknowledgement });
  }

  window(window: number): Packet {
    return this.inTcp({ window });
  }

  options(...options: readonly Uint8Array[]): Packet {
    const bytes = Buffer.concat(options);
    return this.inTcp({ options: Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3, 1)]) });
  }

  /** UDP over IPv4 may go without a checksum. */
  withoutChecksum(): Packet {
    const { transport } = this.state;
    if (transport.kind !== 'udp') throw new TypeError('only UDP goes without a checksum');
    return this.with({ transport: { ...transport, checksum: false } });
  }

  data(data: string | Uint8Array): Packet {
    return this.with({ data: Buffer.from(data) });
  }

  /** Only the first bytes from the network header on are in the frame; its own account of its length stays. */
  cut(bytes: number): Packet {
    return this.damaged((frame) => frame.subarray(0, ETHERNET + bytes));
  }

  /** Overwrites bytes, counted from the network header on; the checksums stay as they were. */
  patched(offset: number, ...bytes: readonly number[]): Packet {
    return this.damaged((frame) => {
      frame.set(bytes, ETHERNET + offset);
      return frame;
    });
  }

  /** Bytes behind the end of the packet, as Ethernet pads short frames. */
  padded(bytes: number): Packet {
    return this.damaged((frame) => Buffer.concat([frame, Buffer.alloc(bytes)]));
  }

  bytes(): Buffer {
    const { ether, network, damage } = this.state;
    const header = Buffer.alloc(ETHERNET);
    header.set(macBytes(ether.destination), 0);
    header.set(macBytes(ether.source), 6);
    header.writeUInt16BE(ETHERTYPE[familyOf(network.source)], 12);
    let frame: Buffer = Buffer.concat([header, this.network()]);
    for (const change of damage) frame = change(frame);
    return frame;
  }

  /** From the network header on. */
  network(): Buffer {
    const { network } = this.state;
    const payload = this.payload();
    return familyOf(network.source) === 'v4'
      ? Buffer.concat([headerV4(network, this.protocol, payload.length), payload])
      : Buffer.concat([headerV6(network, this.protocol, payload.length), payload]);
  }

  private payload(): Buffer {
    const { network, transport, data } = this.state;
    switch (transport.kind) {
      case 'tcp':
        return tcpSegment(network, transport, data);
      case 'udp':
        return udpDatagram(network, transport, data);
      case 'sctp':
        return sctpPacket(transport, data);
      case 'icmp':
        return icmpMessage(network, transport, data);
      case 'raw':
        return Buffer.from(data);
    }
    transport satisfies never;
  }

  private damaged(change: (frame: Buffer) => Buffer): Packet {
    return this.with({ damage: [...this.state.damage, change] });
  }

  private inNetwork(change: Partial<Network>): Packet {
    return this.with({ network: { ...this.state.network, ...change } });
  }

  private inTcp(change: Partial<TcpFields>): Packet {
    const { transport } = this.state;
    if (transport.kind !== 'tcp') throw new TypeError('not a TCP packet');
    return this.with({ transport: { ...transport, tcp: { ...transport.tcp, ...change } } });
  }

  private with(change: Partial<State>): Packet {
    return new Packet({ ...this.state, ...change });
  }
}

/** Bytes of an Ethernet header. */
export const ETHERNET = 14;

function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':'), (byte) => parseInt(byte, 16));
}

function headerV4(network: Network, protocol: number, payload: number): Buffer {
  const size = 20 + network.options.length;
  const { fragment } = network;
  const header = Buffer.alloc(size);
  header.writeUInt8(0x40 | (size / 4), 0);
  header.writeUInt8(network.tos, 1);
  header.writeUInt16BE(size + payload, 2);
  header.writeUInt16BE(network.id, 4);
  header.writeUInt16BE((network.df ? 0x4000 : 0) | (fragment?.more ? 0x2000 : 0) | (fragment?.offset ?? 0), 6);
  header.writeUInt8(network.hops, 8);
  header.writeUInt8(protocol, 9);
  header.set(addressBytes(network.source), 12);
  header.set(addressBytes(network.destination), 16);
  header.set(network.options, 20);
  header.writeUInt16BE(internetChecksum(header), 10);
  return header;
}

function headerV6(network: Network, protocol: number, payload: number): Buffer {
  const { fragment } = network;
  const chain = fragment ? [...network.extensions, { type: IP_PROTOCOL.fragment, size: 8 }] : network.extensions;
  const extensions = chain.map((extension, i) => {
    const next = chain[i + 1]?.type ?? protocol;
    return extensionHeader(extension, next, fragment);
  });
  const header = Buffer.alloc(40);
  header.writeUInt32BE(((6 << 28) | (network.tos << 20) | network.flowLabel) >>> 0, 0);
  header.writeUInt16BE(payload + extensions.reduce((sum, bytes) => sum + bytes.length, 0), 4);
  header.writeUInt8(chain[0]?.type ?? protocol, 6);
  header.writeUInt8(network.hops, 7);
  header.set(addressBytes(network.source), 8);
  header.set(addressBytes(network.destination), 24);
  return Buffer.concat([header, ...extensions]);
}

function extensionHeader(extension: Extension, next: number, fragment: Fragment | undefined): Buffer {
  const bytes = Buffer.alloc(extension.size);
  bytes.writeUInt8(next, 0);
  if (extension.type === IP_PROTOCOL.fragment) {
    bytes.writeUInt16BE(((fragment?.offset ?? 0) << 3) | (fragment?.more ? 1 : 0), 2);
    bytes.writeUInt32BE(0x12345678, 4);
  } else if (extension.type === IP_PROTOCOL.auth) {
    bytes.writeUInt8(extension.size / 4 - 2, 1);
  } else {
    bytes.writeUInt8(extension.size / 8 - 1, 1);
    bytes.set([1, extension.size - 4], 2); // PadN over the rest
  }
  return bytes;
}

function tcpSegment(network: Network, ports: Transport & { kind: 'tcp' }, data: Uint8Array): Buffer {
  const { tcp: fields } = ports;
  const size = 20 + fields.options.length;
  const header = Buffer.alloc(size);
  header.writeUInt16BE(ports.source, 0);
  header.writeUInt16BE(ports.destination, 2);
  header.writeUInt32BE(fields.sequence, 4);
  header.writeUInt32BE(fields.acknowledgement, 8);
  header.writeUInt8((size / 4) << 4, 12);
  header.writeUInt8(
    fields.flags.reduce((bits, flag) => bits | (1 << TCP_FLAGS.indexOf(flag)), 0),
    13,
  );
  header.writeUInt16BE(fields.window, 14);
  header.set(fields.options, 20);
  const segment = Buffer.concat([header, data]);
  segment.writeUInt16BE(transportSum(network, PROTOCOL_NUMBER.TCP, segment), 16);
  return segment;
}

function udpDatagram(network: Network, ports: Transport & { kind: 'udp' }, data: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(ports.source, 0);
  header.writeUInt16BE(ports.destination, 2);
  header.writeUInt16BE(8 + data.length, 4);
  const datagram = Buffer.concat([header, data]);
  /* RFC 768: a sum of zero is sent as all ones, zero means none */
  if (ports.checksum) datagram.writeUInt16BE(transportSum(network, PROTOCOL_NUMBER.UDP, datagram) || 0xffff, 6);
  return datagram;
}

function sctpPacket(ports: Transport & { kind: 'sctp' }, data: Uint8Array): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(12), data]);
  bytes.writeUInt16BE(ports.source, 0);
  bytes.writeUInt16BE(ports.destination, 2);
  bytes.writeUInt32BE(ports.tag, 4);
  bytes.writeUInt32LE(crc32c(bytes), 8);
  return bytes;
}

function icmpMessage(network: Network, header: Transport & { kind: 'icmp' }, data: Uint8Array): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(8), data]);
  bytes.writeUInt8(header.type, 0);
  bytes.writeUInt8(header.code, 1);
  bytes.writeUInt32BE(header.rest, 4);
  const v4 = familyOf(network.source) === 'v4';
  bytes.writeUInt16BE(v4 ? internetChecksum(bytes) : transportSum(network, IP_PROTOCOL.icmp6, bytes), 2);
  return bytes;
}

function transportSum(network: Network, protocol: number, bytes: Uint8Array): number {
  return internetChecksum(pseudoHeader(network.source, network.destination, protocol, bytes.length), bytes);
}
