/**
 * One service as IPVS and nftables are to hold it: virtual servers, and rows of the table `weir`. Pure.
 *
 * A frontend has up to three lists of real servers. `outside`: for clients out there. `inside`: for what starts on this node,
 * where that is another list or forwarding. `tunnelled`: for what another node's IPVS has wrapped and sent here, which goes to
 * the endpoints on this node; `node_ports` is the same for node ports, which name that other node's address. The first is found
 * by the frontend's address where that is ours to bind, else, and the others always, by a mark.
 */
import { type DesiredBackend, type DesiredFrontend, type DesiredService, backendsByTunnel } from '../core/desired.js';
import { type Family, familyOf, type Ip, type Prefix, type Protocol } from '../core/net.js';
import type { Row } from '../core/plan.js';
import { markName, type Marks } from './marks.js';
import { elementOf, outermost } from './prefixes.js';
import type { Refusal } from './refusals.js';
import { BY_CLIENT, chooseSchedule } from './schedule.js';
import { type Match, type RealServer, serverKey, serverMap, type VirtualServer } from './virtual.js';

/** What placement must know of the node and its neighbours. */
export interface NodeView {
  /** Addresses that this node has without us. */
  readonly own: ReadonlySet<Ip>;
  /** Addresses at which another program has virtual servers: they are left to it. */
  readonly taken: ReadonlySet<Ip>;
  /** Where tunnels to a node lead; undefined where no Node object says it. */
  nodeAddress(name: string, family: Family): Ip | undefined;
  /** Where tunnels to this node end. */
  tunnelEnd(family: Family): Ip | undefined;
  /** Has a link of an uplink this address, with no gateway between? */
  isOnLink(address: Ip): boolean;
}

export interface WantedServer extends VirtualServer {
  readonly protocol: Protocol;
  /** By frontendKey. */
  readonly frontend: string;
  /** Real servers that still serve, here or elsewhere: what is none of ours any more keeps its connections as long as it is one. */
  readonly serving: ReadonlySet<string>;
  /** To be in the table while no real server is left, not even for connections that it has: they end. */
  readonly lost: Row;
  /** To be in the table where the kernel does not take the virtual server: nobody else is to answer. */
  readonly refused: readonly Row[];
}

export interface Placed {
  readonly servers: readonly WantedServer[];
  readonly rows: readonly Row[];
}

/** Maps of marks in the table `weir`, without the digit of their family. */
export const VARIANTS = ['outside', 'inside', 'tunnelled', 'node_ports'] as const;
export type Variant = (typeof VARIANTS)[number];

export function placeService(service: DesiredService, node: NodeView, marks: Marks): Placed {
  const parts = service.ports.flatMap(({ frontends: all, backends, sourceRanges }) => {
    const frontends = all.filter((frontend) => !(isBound(frontend, node) && node.taken.has(frontend.address)));
    return [
      ...frontends.map((frontend) => placeFrontend(frontend, backends, node, marks)),
      { servers: [], rows: frontends.flatMap((frontend) => rangeRows(frontend, sourceRanges)) },
      { servers: [], rows: backends.filter(({ local }) => local).flatMap(endpointRows) },
      { servers: [], rows: frontends.some(isDsr) ? backends.flatMap((one) => tunnelRows(one, node)) : [] },
    ];
  });
  return { servers: parts.flatMap(({ servers }) => servers), rows: parts.flatMap(({ rows }) => rows) };
}

function placeFrontend(
  frontend: DesiredFrontend,
  backends: readonly DesiredBackend[],
  node: NodeView,
  marks: Marks,
): Placed {
  const { kind, address, protocol } = frontend;
  const key = frontendKey(frontend);
  const row = (table: string, value: string, at = key): Row => ({ table: setName(table, address), key: at, value });
  const rows = [row('services', '')];
  const servers: WantedServer[] = [];
  const bound = isBound(frontend, node);
  const separate = frontend.forwarding !== 'nat' || frontend.shortCircuit;
  const ofFamily = backends.filter((backend) => familyOf(backend.address) === familyOf(address));
  const serving = new Set(
    ofFamily.flatMap((backend) => [masqueraded(backend), realServer(backend, frontend, node)].map(serverKey)),
  );
  /* also where the list is empty: there may be connections left of one that was not */
  const serve = (variant: Variant, list: readonly RealServer[], at = key): void => {
    const match = matchOf(frontend, variant, at, bound, marks);
    if (match.kind === 'mark') rows.push(row(variant, `${match.mark}`, at));
    const real = serverMap(list);
    const weights = [...real.values()].map(({ weight }) => weight);
    /* for clients of marks IPVS's persistence forgets the backend's port (ip_vs_sched_persist) */
    const hashes = match.kind === 'mark' && frontend.affinity > 0;
    servers.push({
      match,
      ...(hashes ? BY_CLIENT : chooseSchedule(frontend.scheduler, weights)),
      persistence: hashes ? 0 : frontend.affinity,
      protocol,
      frontend: key,
      servers: real,
      serving,
      lost: row(`lost_${variant}`, '', at),
      refused: [variant, ...(variant === 'outside' && !separate ? ['inside'] : [])].map((name) =>
        row(`refused_${name}`, 'goto no_endpoint', at),
      ),
    });
  };
  if (bound) rows.push(row('vips', '', address));
  const outside = frontend.outside
    .filter((backend) => isReached(backend, frontend, node))
    .map((backend) => realServer(backend, frontend, node));
  const inside = frontend.inside.map(masqueraded);
  serve('outside', outside);
  /* not by whether the lists are the same now: connections end with their virtual server */
  if (separate) serve('inside', inside);
  const refuses = (list: readonly RealServer[]): boolean => list.every(({ weight }) => weight === 0);
  if (isDsr(frontend)) {
    rows.push(row('dsr', '')); // besides the map: 6.1 and 5.10 let nobody ask a map whether it has a key
    const own = backendsByTunnel(frontend, backends).map(masqueraded);
    const [variant, at] =
      kind === 'NodePort' ? (['node_ports', portKey(frontend)] as const) : (['tunnelled', key] as const);
    serve(variant, own, at);
    if (kind === 'NodePort') rows.push(row('dsr_node_ports', '', at));
    if (refuses(own)) rows.push(row(`refused_${variant}`, 'goto dsr_frontend', at));
  }
  const refusal: Refusal = frontend.exists ? 'no_local_endpoint' : 'no_endpoint';
  if (refuses(outside)) rows.push(row('refused_outside', `goto ${refusal}`));
  if (refuses(inside)) rows.push(row('refused_inside', `goto ${refusal}`));
  return { servers, rows };
}

/** Is the address ours to have on weir-ipvs0? Not what some node has by itself: that is for the node to answer. */
function isBound({ address, virtual }: DesiredFrontend, node: NodeView): boolean {
  return virtual && !node.own.has(address);
}

function matchOf(frontend: DesiredFrontend, variant: Variant, key: string, bound: boolean, marks: Marks): Match {
  const { address, port, protocol } = frontend;
  if (variant === 'outside' && bound) return { kind: 'address', address, port, protocol };
  const mark = marks.of(markName(variant, key));
  return { kind: 'mark', mark, family: familyOf(address) };
}

/**
 * By tunnel a whole node is asked, for as many connections as it has backends; those on this node are asked themselves. On one
 * link (dsr-l2) the backend itself gets the packet as it is.
 */
function realServer(backend: DesiredBackend, { forwarding, port }: DesiredFrontend, node: NodeView): RealServer {
  const { address, weight } = backend;
  if (forwarding === 'nat' || backend.local) return masqueraded(backend);
  if (forwarding === 'dsr-l2') return { address, port, method: 'gateway', weight };
  const end = node.nodeAddress(backend.nodeName, familyOf(address));
  return end === undefined ? masqueraded(backend) : { address: end, port, method: 'tunnel', weight };
}

/** By dsr-l2 a gateway would send the packet back here. */
function isReached({ local, address }: DesiredBackend, { forwarding }: DesiredFrontend, node: NodeView): boolean {
  return forwarding !== 'dsr-l2' || local || node.isOnLink(address);
}

function masqueraded({ address, port, weight }: DesiredBackend): RealServer {
  return { address, port, method: 'masq', weight };
}

/** Whose clients may come to a frontend that not everybody may come to. */
function rangeRows(frontend: DesiredFrontend, ranges: readonly Prefix[]): Row[] {
  if (!frontend.restricted) return [];
  const { address, port, protocol } = frontend;
  const own = outermost(ranges.filter((range) => familyOf(range.address) === familyOf(address)));
  return [
    { table: setName('restricted', address), key: frontendKey(frontend), value: '' },
    ...own.map((range) => ({
      ...{ table: setName(`admitted_${protocol.toLowerCase()}`, address), value: '' },
      key: `${address} . ${port} . ${elementOf(range)}`,
    })),
  ];
}

function endpointRows({ address, host }: DesiredBackend): Row[] {
  const local = { table: setName('local', address), key: address, value: '' };
  /* what a pod sends to itself through its service comes back only with another source */
  return host ? [local] : [local, { table: setName('hairpin', address), key: `${address} . ${address}`, value: '' }];
}

/** A tunnel that names the pod (BPF's does) is opened like one that names the node. */
function tunnelRows({ address, local, host }: DesiredBackend, node: NodeView): Row[] {
  const end = node.tunnelEnd(familyOf(address));
  if (!local || host || end === undefined) return [];
  return [{ table: setName('tunnel_ends', address), key: address, value: end }];
}

function isDsr({ forwarding }: DesiredFrontend): boolean {
  return forwarding === 'dsr';
}

/** Key of a frontend in the sets of the table `weir`. */
export function frontendKey({
  address,
  protocol,
  port,
}: Pick<DesiredFrontend, 'address' | 'protocol' | 'port'>): string {
  return `${address} . ${protocol.toLowerCase()} . ${port}`;
}

/** Key of a node port in the sets of the table `weir`, whatever node's address it is asked at. */
function portKey({ protocol, port }: DesiredFrontend): string {
  return `${protocol.toLowerCase()} . ${port}`;
}

/** Sets hold one family each: vips4, vips6. */
export function setName(name: string, address: Ip): string {
  return `${name}${familyOf(address) === 'v4' ? 4 : 6}`;
}
