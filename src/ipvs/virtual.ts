/**
 * What IPVS is to hold: virtual servers with their real servers, as ipvsadm tells them. One service of ours may become several
 * of IPVS, which has one list of real servers each: what starts on this node, and what comes out of a tunnel, goes elsewhere
 * than what comes from outside. Those are told apart by packet marks that nftables sets (fwmark services).
 */
import type { Family, Ip, Protocol } from '../core/net.js';
import { formatSocket } from '../core/net.js';

/** masq: the destination is rewritten; tunnel: wrapped in IPIP; gateway: sent on with another MAC (LVS-DR). */
export const METHODS = ['masq', 'tunnel', 'gateway'] as const;
export type Method = (typeof METHODS)[number];
export type Schedule = 'rr' | 'wrr' | 'lc' | 'wlc' | 'sh' | 'dh' | 'mh';

/** How a packet is known to be for a virtual server. */
export type Match =
  | { readonly kind: 'address'; readonly address: Ip; readonly port: number; readonly protocol: Protocol }
  | { readonly kind: 'mark'; readonly mark: number; readonly family: Family };

export interface RealServer {
  readonly address: Ip;
  /** 0 for a fwmark service: the packet's own port stays. */
  readonly port: number;
  readonly method: Method;
  /** 0: gets no new connections. */
  readonly weight: number;
}

export interface VirtualServer {
  readonly match: Match;
  readonly scheduler: string;
  /** The scheduler's own flags, in the order of ipvsadm. */
  readonly flags: readonly string[];
  /** s for which a client keeps its real server, 0: no persistence. */
  readonly persistence: number;
  /** By serverKey. */
  readonly servers: ReadonlyMap<string, RealServer>;
}

/** By matchText. */
export type VirtualServers = ReadonlyMap<string, VirtualServer>;

const PROTOCOL_FLAG: Readonly<Record<Protocol, string>> = { TCP: '-t', UDP: '-u', SCTP: '--sctp-service' };

/** How ipvsadm names the virtual server in a command: `-t 10.96.0.1:443`, `-f 7`, `-f 7 -6`. */
export function matchText(match: Match): string {
  if (match.kind === 'mark') return `-f ${match.mark}${match.family === 'v6' ? ' -6' : ''}`;
  return `${PROTOCOL_FLAG[match.protocol]} ${formatSocket(match.address, match.port)}`;
}

/** What tells real servers of one virtual server apart. */
export function serverKey({ address, port }: Pick<RealServer, 'address' | 'port'>): string {
  return formatSocket(address, port);
}

/** Real servers by key; of two with the same key the weights add up. */
export function serverMap(servers: readonly RealServer[]): Map<string, RealServer> {
  const map = new Map<string, RealServer>();
  for (const server of servers) {
    const known = map.get(serverKey(server));
    map.set(serverKey(server), known ? { ...known, weight: known.weight + server.weight } : server);
  }
  return map;
}
