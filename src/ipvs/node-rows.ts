/** What the table `weir` and the tunnels take from the node's devices. Pure. */
import { type Family, familyOf, type Ip, parsePrefix, type Prefix } from '../core/net.js';
import { type Link, type Roles, sourceAddress } from '../core/network.js';
import type { Row } from '../core/plan.js';
import { setName } from './placement.js';
import { elementOf, outermost } from './prefixes.js';
import type { Segment } from './ruleset.js';

/** Outer and inner IP header and the TCP header without options, by family. */
const HEADERS = { 4: 20 + 20 + 20, 6: 40 + 40 + 20 } as const;

/** What the table takes from the nodes of the cluster; undefined: as it is. */
export interface ClusterRanges {
  /** From where tunnelled packets are accepted. */
  readonly sources: readonly Prefix[] | undefined;
  /** Sources that count as the cluster's own; of a family without any, every address does. */
  readonly cluster: readonly Prefix[] | undefined;
}

const EVERYBODY = { v4: '0.0.0.0/0', v6: '::/0' } as const;

/** `known`: the rows that are there. */
export function nodeRows(roles: Roles, { sources, cluster }: ClusterRanges, known: readonly Row[]): Row[] {
  const devices = (table: string, names: readonly string[]): Row[] =>
    names.map((name) => ({ table, key: name, value: '' }));
  const bridges = roles.bridges.map(({ name }) => name);
  const ranges = (table: string, prefixes: readonly Prefix[] | undefined): Row[] => {
    if (!prefixes) return known.filter((row) => row.table === `${table}4` || row.table === `${table}6`);
    return outermost(prefixes).map((prefix) => ({
      table: setName(table, prefix.address),
      key: elementOf(prefix),
      value: '',
    }));
  };
  /* until the nodes are known for the first time, tunnels of others (an overlay's) go on */
  const tunnels = ranges('tunnel_sources', sources);
  return [
    ...devices('inside_devices', ['lo', ...bridges, ...roles.pods.map(({ name }) => name)]),
    ...devices('bridges', bridges),
    ...(tunnels.length > 0 || sources ? tunnels : ranges('tunnel_sources', withoutGaps([]))),
    ...ranges('cluster', cluster && withoutGaps(cluster)),
  ];
}

function withoutGaps(cluster: readonly Prefix[]): Prefix[] {
  const missing = (['v4', 'v6'] as const).filter(
    (family) => !cluster.some(({ address }) => familyOf(address) === family),
  );
  return [...cluster, ...missing.flatMap((family) => parsePrefix(EVERYBODY[family]) ?? [])];
}

/** The largest segments that fit into a tunnel over the smallest uplink. */
export function segmentOf(uplinks: readonly Link[]): Segment {
  const mtu = Math.min(...uplinks.map((link) => link.mtu));
  return { 4: mtu - HEADERS[4], 6: mtu - HEADERS[6] };
}

/** The addresses to which other nodes send their tunnels, for those families that need any. */
export function tunnelEnds(uplinks: readonly Link[], families: ReadonlySet<Family>): Partial<Record<Family, Ip>> {
  const ends = (['v4', 'v6'] as const).flatMap((family) => {
    const address = uplinks.flatMap((link) => sourceAddress(link, family) ?? [])[0];
    return families.has(family) && address !== undefined ? [[family, address] as const] : [];
  });
  return Object.fromEntries(ends);
}
