/** What a node's links, addresses, routes and neighbours mean to Weir: which devices carry programs, and who lives behind them. */
import { type Family, familyOf, type Ip, parsePrefix, type Prefix, prefixContains } from './net.js';

export interface Link {
  readonly ifindex: number;
  readonly name: string;
  readonly mtu: number;
  /** undefined for devices whose frames have no Ethernet header. */
  readonly mac: string | undefined;
  /** Kind of a software device: veth, bridge, vxlan ...; '' for hardware. */
  readonly kind: string;
  /** Name of the bridge or bond that it belongs to, ''. */
  readonly master: string;
  readonly up: boolean;
  readonly addresses: readonly LinkAddress[];
}

export interface LinkAddress {
  readonly ip: Ip;
  readonly scope: string;
  /** Usable as a source: neither tentative, deprecated nor temporary. */
  readonly stable: boolean;
}

export interface Route {
  readonly destination: Prefix;
  readonly device: string;
  /** No gateway stands between: what it leads to is on the device's own link. */
  readonly direct: boolean;
}

export interface Neighbour {
  readonly ip: Ip;
  readonly mac: string;
  readonly device: string;
}

export interface ForwardingEntry {
  readonly mac: string;
  /** The bridge port behind which the address was seen. */
  readonly device: string;
}

export interface Network {
  readonly links: readonly Link[];
  readonly routes: readonly Route[];
  readonly neighbours: readonly Neighbour[];
  readonly forwarding: readonly ForwardingEntry[];
}

export interface DeviceChoice {
  /** Uplinks and overlay devices by name; empty: those with a default route. */
  readonly devices: readonly string[];
  /** Globs of the host's side of pod devices. */
  readonly podDevices: readonly string[];
}

export interface Roles {
  readonly uplinks: readonly Link[];
  readonly pods: readonly Link[];
  readonly bridges: readonly Link[];
  /** Names of --devices that do not exist. */
  readonly missing: readonly string[];
}

const OVERLAY_KINDS = new Set([
  'vxlan',
  'geneve',
  'ipip',
  'sit',
  'gre',
  'gretap',
  'ip6tnl',
  'ip6gre',
  'wireguard',
  'tun',
  'xfrm',
  'vti',
  'fou',
]);

export function isOverlay(link: Link): boolean {
  return OVERLAY_KINDS.has(link.kind);
}

export function deviceRoles(network: Network, choice: DeviceChoice): Roles {
  const byName = new Map(network.links.map((link) => [link.name, link]));
  const names = choice.devices.length > 0 ? choice.devices : defaultRouteDevices(network);
  const uplinks = names.flatMap((name) => byName.get(name) ?? []);
  const globs = choice.podDevices.map(globPattern);
  const pods = network.links.filter(
    (link) => !uplinks.includes(link) && link.name !== 'lo' && globs.some((glob) => glob.test(link.name)),
  );
  const masters = new Set(pods.map((pod) => pod.master));
  const bridges = network.links.filter((link) => masters.has(link.name) && !uplinks.includes(link));
  return { uplinks, pods, bridges, missing: choice.devices.filter((name) => !byName.has(name)) };
}

function defaultRouteDevices(network: Network): string[] {
  return [...new Set(network.routes.filter((route) => route.destination.bits === 0).map((route) => route.device))];
}

/** A shell-like pattern of device names: * and ?. */
export function globPattern(glob: string): RegExp {
  const escaped = glob
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*/g, '.*')
    .replace(/\?/g, '.');
  return new RegExp(`^${escaped}$`);
}

/** The address that the node uses as its own on a device: the first global one of the family. */
export function sourceAddress(link: Link, family: Family): Ip | undefined {
  const usable = link.addresses.filter((address) => familyOf(address.ip) === family && address.scope === 'global');
  return (usable.find((address) => address.stable) ?? usable[0])?.ip;
}

export function globalAddresses(links: readonly Link[]): Ip[] {
  return links.flatMap((link) =>
    link.addresses.filter((address) => address.scope === 'global').map((address) => address.ip),
  );
}

/** What is on the links of these devices, with no gateway between. */
export function onLinkPrefixes(network: Network, links: readonly Link[]): Prefix[] {
  const names = new Set(links.map((link) => link.name));
  return network.routes.filter((route) => route.direct && names.has(route.device)).map((route) => route.destination);
}

/** The device on which the IPVS dataplane has the addresses of services: the node's own they are not. */
export const SERVICE_DEVICE = 'weir-ipvs0';

/** What the node has without us. */
export function withoutServices(network: Network): Network {
  return { ...network, links: network.links.filter(({ name }) => name !== SERVICE_DEVICE) };
}

/** Every address on any device of the node, each once, sorted. */
export function ownAddresses(network: Network): Ip[] {
  return [...new Set(network.links.flatMap((link) => link.addresses.map(({ ip }) => ip)))].sort();
}

/** Where node ports are served: on all addresses of the uplinks, on the first of each family, or on those within prefixes. */
export type NodePortRule = 'all' | 'primary' | readonly Prefix[];

/** Addresses on which node ports are served. */
export function nodePortAddresses(network: Network, uplinks: readonly Link[], rule: NodePortRule): Ip[] {
  if (rule === 'all') return [...new Set(globalAddresses(uplinks))];
  if (rule === 'primary') {
    return (['v4', 'v6'] as const).flatMap((family) =>
      uplinks.flatMap((link) => sourceAddress(link, family) ?? []).slice(0, 1),
    );
  }
  const own = globalAddresses(network.links);
  return [...new Set(own.filter((ip) => rule.some((prefix) => prefixContains(prefix, ip))))];
}

/**
 * The device behind which each address lives, as far as routes, neighbours and bridges' forwarding tables tell. An address
 * is only bound to one of the given pod devices.
 */
export function bindings(network: Network, pods: readonly Link[], addresses: Iterable<Ip>): Map<Ip, Link> {
  const podByName = new Map(pods.map((pod) => [pod.name, pod]));
  const neighbours = new Map(network.neighbours.map((entry) => [`${entry.device} ${entry.ip}`, entry.mac]));
  const ports = new Map(network.forwarding.map((entry) => [entry.mac, entry.device]));
  const found = new Map<Ip, Link>();
  for (const ip of addresses) {
    const route = bestRoute(network.routes, ip);
    if (!route) continue;
    const routed =
      route.destination.bits === (familyOf(ip) === 'v4' ? 32 : 128) ? podByName.get(route.device) : undefined;
    const mac = neighbours.get(`${route.device} ${ip}`);
    const bridged = mac === undefined ? undefined : podByName.get(ports.get(mac) ?? '');
    const pod = routed ?? (bridged?.master === route.device ? bridged : undefined);
    if (pod) found.set(ip, pod);
  }
  return found;
}

function bestRoute(routes: readonly Route[], ip: Ip): Route | undefined {
  let best: Route | undefined;
  for (const route of routes) {
    if (best && best.destination.bits >= route.destination.bits) continue;
    if (prefixContains(route.destination, ip)) best = route;
  }
  return best;
}

/** `default` and bare addresses as iproute2 prints them. */
export function parseRoutePrefix(text: string, family: Family): Prefix | undefined {
  if (text === 'default') return parsePrefix(family === 'v4' ? '0.0.0.0/0' : '::/0');
  return parsePrefix(text);
}
