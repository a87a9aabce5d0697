/**
 * What ended here, remembered by nftables itself: sets whose elements are the ends of denied packets with a counter, forgotten an
 * hour after the last one. They count with the agent dead. Pure.
 */
import { PROTOCOLS } from '../core/net.js';

/** s for which a record is kept after its last packet. */
const RECORD_TIMEOUT = 3600;
/** Records of each name and family. */
const RECORD_SIZE = 16_384;

const FAMILIES = [
  { n: 4, ip: 'ip', type: 'ipv4_addr' },
  { n: 6, ip: 'ip6', type: 'ipv6_addr' },
] as const;

/** The sets of one name: with ports, and without for protocols that have none. */
export function recordSets(name: string): string[] {
  const kept = `flags dynamic,timeout; timeout ${RECORD_TIMEOUT}s; size ${RECORD_SIZE};`;
  return FAMILIES.flatMap(({ n, type }) => [
    `set ports_${name}${n} { type ${type} . ${type} . inet_proto . inet_service; ${kept} }`,
    `set other_${name}${n} { type ${type} . ${type} . inet_proto; ${kept} }`,
  ]);
}

/** Counts all packets of a name, by family. A set: nft reads the whole ruleset before it tells of a counter. */
export function countSet(name: string): string {
  return `count_${name}`;
}

export function countDeclaration(name: string): string {
  return `set ${countSet(name)} { type ether_type; flags dynamic; size 4; }`;
}

/** The rule that counts a packet, and goes on. */
export function countPacket(name: string): string {
  return `update @${countSet(name)} { meta protocol counter }`;
}

/** Rules that record a packet as it is, and go on. */
export function recordPacket(name: string): string[] {
  return FAMILIES.flatMap(({ n, ip }) => {
    const ends = `${ip} saddr . ${ip} daddr . meta l4proto`;
    return [
      `meta l4proto { tcp, udp, sctp } update @ports_${name}${n} { ${ends} . th dport counter }`,
      `meta l4proto != { tcp, udp, sctp } update @other_${name}${n} { ${ends} counter }`,
    ];
  });
}

/** Does the set hold what packets have left? The agent decides nothing of what is in it. */
export function isLeft(set: string): boolean {
  return isRecordSet(set) || set.startsWith(countSet(''));
}

function isRecordSet(set: string): boolean {
  return /^(ports|other)_[a-z_]+[46]$/.test(set);
}

/** What /etc/protocols calls others than those with ports. */
const OTHERS: Readonly<Record<string, string>> = { icmp: 'ICMP', 'ipv6-icmp': 'ICMP', ipencap: '4', ipv6: '41' };

function protocolText(name: string): string {
  return OTHERS[name] ?? PROTOCOLS.find((protocol) => protocol.toLowerCase() === name) ?? name;
}

export interface RecordElement {
  readonly name: string;
  readonly source: string;
  readonly destination: string;
  /** In capitals; as nftables has it where that has no name here. */
  readonly protocol: string;
  /** 0 where the protocol has none. */
  readonly port: number;
  readonly count: number;
  /** s since the last one. */
  readonly age: number;
}

interface Element {
  readonly elem: {
    readonly val: { readonly concat: readonly (string | number)[] };
    readonly expires?: number;
    readonly counter?: { readonly packets: number };
  };
}

/** The records of one set as nft -j lists it; none where it is no record set. */
export function recordElements(set: string, elements: readonly unknown[]): RecordElement[] {
  const name = isRecordSet(set) ? set.slice(set.indexOf('_') + 1, -1) : undefined;
  if (name === undefined) return [];
  return elements.map((element) => {
    const { val, expires = RECORD_TIMEOUT, counter } = (element as Element).elem;
    const [source = '', destination = '', protocol = '', port = 0] = val.concat;
    return {
      ...{ name, source: `${source}`, destination: `${destination}`, protocol: protocolText(`${protocol}`) },
      port: Number(port),
      count: counter?.packets ?? 0,
      age: RECORD_TIMEOUT - expires,
    };
  });
}
