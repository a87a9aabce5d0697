/** What the table `weir` and the tunnels take from the node's devices. Pure. */
import type { Family, Ip, Prefix } from '../core/net.js';
import { type Link, type Roles, sourceAddress } from '../core/network.js';
import type { Row } from '../core/plan.js';
import { setName } from './placement.js';
import { elementOf, outermost } from './prefixes.js';
import type { Segment } from './ruleset.js';

/** Outer and inner IP header and the TCP header without options, by family. */
const HEADERS = { 4: 20 + 20 + 20, 6: 40 + 40 + 20 } as const;

/** Without `sources` those of `known` stay. */
export function nodeRows(roles: Roles, sources: readonly Prefix[] | undefined, known: readonly Row[]): Row[] {
  const devices = (table: string, names: readonly string[]): Row[] =>
    names.map((name) => ({ table, key: name, value: '' }));
  const bridges = roles.bridges.map(({ name }) => name);
  const fresh =
    sources &&
    outermost(sources).map((prefix) => ({
      table: setName('tunnel_sources', prefix.address),
      key: elementOf(prefix),
      value: '',
    }));
  return [
    ...devices('inside_devices', ['lo', ...bridges, ...roles.pods.map(({ name }) => name)]),
    ...devices('bridges', bridges),
    ...(fresh ?? known),
  ];
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
