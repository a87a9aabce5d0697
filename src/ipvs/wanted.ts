/** All that the kernel is to hold of ours, put together from what each service needs and from the node. Pure. */
import type { DesiredService } from '../core/desired.js';
import { type Family, familyOf, type Ip, prefixContains } from '../core/net.js';
import { type Link, type Network, onLinkPrefixes, type Roles, withoutServices } from '../core/network.js';
import { type Row, toRows } from '../core/plan.js';
import { type ClusterRanges, nodeRows, tunnelEnds } from './node-rows.js';
import type { NodeView, Placed, WantedServer } from './placement.js';
import { matchText, type VirtualServers } from './virtual.js';

export interface Wanted {
  readonly servers: Map<string, WantedServer>;
  readonly rows: Map<string, Row>;
}

/** Addresses by name of the node. */
export type NodeAddresses = Readonly<Record<string, readonly Ip[]>>;

/** Where tunnels to a node lead; undefined where no Node object says it. */
export function tunnelEnd(nodes: NodeAddresses, name: string, family: Family): Ip | undefined {
  return nodes[name]?.find((ip) => familyOf(ip) === family);
}

/** `taken`: as takenAddresses tells. */
export function viewOf(
  network: Network,
  uplinks: readonly Link[],
  nodes: NodeAddresses,
  taken: ReadonlySet<Ip>,
): NodeView {
  const onLink = onLinkPrefixes(network, uplinks);
  const { links } = withoutServices(network);
  const ends = tunnelEnds(uplinks, new Set(['v4', 'v6']));
  return {
    own: new Set(links.flatMap(({ addresses }) => addresses.map(({ ip }) => ip))),
    taken,
    nodeAddress: (name, family) => tunnelEnd(nodes, name, family),
    tunnelEnd: (family) => ends[family],
    isOnLink: (ip) => onLink.some((prefix) => prefixContains(prefix, ip)),
  };
}

/** `known`: the rows that are there. */
export function wanted(placed: Iterable<Placed>, roles: Roles, ranges: ClusterRanges, known: readonly Row[]): Wanted {
  const all = [...placed];
  const servers = all.flatMap((service) => service.servers).map((server) => [matchText(server.match), server] as const);
  const rows = [...all.flatMap((service) => service.rows), ...nodeRows(roles, ranges, known)];
  return { servers: new Map(servers), rows: toRows(rows) };
}

/** What the table is to say of the servers as they are with those that only keep their connections. */
export function lostRows(wanted: ReadonlyMap<string, WantedServer>, servers: VirtualServers): Row[] {
  return [...wanted].flatMap(([key, { lost }]) => (servers.get(key)?.servers.size === 0 ? [lost] : []));
}

/** Addresses that weir-ipvs0 is to have. */
export function serviceAddresses(rows: ReadonlyMap<string, Row>): Set<Ip> {
  return new Set([...rows.values()].filter(({ table }) => table.startsWith('vips')).map(({ key }) => key as Ip));
}

/** Addresses of its frontends. */
export function addressesOf(service: DesiredService): Ip[] {
  return service.ports.flatMap(({ frontends }) => frontends.map(({ address }) => address));
}
