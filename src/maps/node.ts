/** The tables about this node: its devices and uplinks, the endpoints behind them, and whom it takes tunnelled packets from. */
import type { Link } from '../core/network.js';
import { isOverlay, sourceAddress } from '../core/network.js';
import { type Ip, mappedBits, type Prefix } from '../core/net.js';
import { plan, type Row, rowKey, toRows, type Write } from '../core/plan.js';
import { u32Codec, ipCodec } from './codec.js';
import { bytes, rangeRow, RANKS, row } from './encode.js';
import type { KernelTables } from './kernel-tables.js';
import {
  BACKEND_FLAG,
  decodeEndpoint,
  decodeRangeKey,
  decodeUplink,
  DEVICE_FLAG,
  DEVICE_ROLE,
  deviceCodec,
  type Endpoint,
  endpointCodec,
  prefixKeyCodec,
  uplinkCodec,
  WEIR_MAX_UPLINKS,
} from './layout.js';

const ABSENT = '::' as Ip;
/** Owner of the cluster's own ranges. */
const CLUSTER = 0;

/** What policy has to say of a pod's address: numbers of its name and of its sets, 0 for none. */
export type EndpointPolicy = Pick<Endpoint, 'pod' | 'ingress' | 'egress' | 'auditIngress' | 'auditEgress'>;

export interface NodeEndpoint {
  /** The address is the node's own. */
  readonly host: boolean;
  /** Absent: no pod that is known has it. */
  readonly policy?: EndpointPolicy;
}

export const NO_POLICY: EndpointPolicy = { pod: 0, ingress: 0, egress: 0, auditIngress: 0, auditEgress: 0 };

export interface NodeState {
  readonly uplinks: readonly Link[];
  readonly pods: readonly Link[];
  readonly bridges: readonly Link[];
  /** Devices that take frames which XDP redirects to them. */
  readonly xdp: ReadonlySet<number>;
  /** Addresses of endpoints on this node. */
  readonly endpoints: ReadonlyMap<Ip, NodeEndpoint>;
  readonly bindings: ReadonlyMap<Ip, Link>;
  /** Sources of tunnelled packets with the number of the name of what they are; undefined: as they are. */
  readonly sources: readonly { readonly prefix: Prefix; readonly name: number }[] | undefined;
  /** Sources that count as the cluster's own; undefined: as they are. */
  readonly cluster: readonly Prefix[] | undefined;
}

const TABLES = ['weir_uplinks', 'weir_devices', 'weir_sources', 'weir_ranges', 'weir_endpoints'] as const;

export class NodeTables {
  readonly #tables: KernelTables;

  constructor(tables: KernelTables) {
    this.#tables = tables;
  }

  /** Brings the tables to a state; returns the number of entries written. */
  sync(state: NodeState): number {
    const writes = this.prepare(state);
    this.#tables.apply(writes, new Map(), 0);
    return writes.length;
  }

  /**
   * The writes that bring the tables to a state. They are small, so they are compared with the kernel itself: the programs
   * write to them as well, and what they have learnt stays.
   */
  prepare(state: NodeState): Write[] {
    const before = toRows(TABLES.flatMap((table) => [...this.#tables.read(table)]).filter(isUsed));
    const uplinks = placeUplinks([...before.values()], state.uplinks);
    const endpoints = [...state.endpoints].map(([ip, endpoint]) => endpointRow(ip, endpoint, state, before));
    const after = toRows([
      ...[...uplinks].map(([index, link]) => uplinkRow(index, link, state)),
      ...deviceRows(state, uplinks, endpoints),
      ...(state.sources?.map(({ prefix, name }) => sourceRow(prefix, name)) ?? [...before.values()].filter(isSource)),
      ...(state.cluster?.map((range) => rangeRow(CLUSTER, range)) ?? [...before.values()].filter(isRange)),
      ...endpoints,
    ]);
    return plan(before, after, RANKS).map((write) => (write.op === 'delete' ? cleared(write.row) : write));
  }
}

function isSource(row: Row): boolean {
  return row.table === 'weir_sources';
}

function isRange(row: Row): boolean {
  return row.table === 'weir_ranges';
}

/** What is about the node: the ranges of services have owners. */
function isUsed(row: Row): boolean {
  if (isRange(row)) return decodeRangeKey(Buffer.from(row.key, 'latin1')).owner === CLUSTER;
  return row.table !== 'weir_uplinks' || decodeUplink(Buffer.from(row.value, 'latin1')).ifindex !== 0;
}

/** An array's entry cannot be deleted: it becomes zero. */
function cleared(gone: Row): Write {
  if (gone.table !== 'weir_uplinks') return { op: 'delete', row: gone };
  return { op: 'put', row: { ...gone, value: '\0'.repeat(uplinkCodec.size) }, before: gone };
}

/** An uplink keeps its index for as long as the device exists: cached hops refer to it. */
function placeUplinks(rows: readonly Row[], links: readonly Link[]): Map<number, Link> {
  const wanted = new Map(links.map((link) => [link.ifindex, link]));
  const placed = new Map<number, Link>();
  for (const row of rows) {
    if (row.table !== 'weir_uplinks') continue;
    const { ifindex } = decodeUplink(Buffer.from(row.value, 'latin1'));
    const link = wanted.get(ifindex);
    if (link) placed.set(Buffer.from(row.key, 'latin1').readUInt32LE(0), link);
    wanted.delete(ifindex);
  }
  for (let index = 0; index < WEIR_MAX_UPLINKS && wanted.size > 0; index++) {
    const next = wanted.values().next().value;
    if (placed.has(index) || !next) continue;
    placed.set(index, next);
    wanted.delete(next.ifindex);
  }
  return placed;
}

function linkFlags(link: Link, state: NodeState): number {
  return (
    (state.xdp.has(link.ifindex) ? DEVICE_FLAG.XDP : 0) |
    (isOverlay(link) ? DEVICE_FLAG.OVERLAY : 0) |
    (link.mac === undefined ? DEVICE_FLAG.L3 : 0)
  );
}

function uplinkRow(index: number, link: Link, state: NodeState): Row {
  const value = {
    ifindex: link.ifindex,
    mtu: link.mtu,
    address4: sourceAddress(link, 'v4') ?? ABSENT,
    address6: sourceAddress(link, 'v6') ?? ABSENT,
    mac: Uint8Array.from((link.mac ?? '0:0:0:0:0:0').split(':'), (byte) => parseInt(byte, 16)),
    flags: linkFlags(link, state),
  };
  return row('weir_uplinks', [u32Codec, index], [uplinkCodec, value]);
}

/** A pod's device is bound for a family once an endpoint of it is known to live there, told by the agent or learnt by a program. */
function deviceRows(state: NodeState, uplinks: ReadonlyMap<number, Link>, endpoints: readonly Row[]): Row[] {
  const device = (link: Link, role: number, flags: number, uplink: number, bound: Bound = NOBODY): Row =>
    row('weir_devices', [u32Codec, link.ifindex], [deviceCodec, { role, flags, uplink, ...bound }]);
  const bound = bindingsOf(endpoints);
  return [
    ...[...uplinks].map(([index, link]) => device(link, DEVICE_ROLE.UPLINK, linkFlags(link, state), index + 1)),
    ...state.pods.map((link) => {
      const pods = bound.get(link.ifindex) ?? NOBODY;
      const flags = (pods.pod4 === ABSENT ? 0 : DEVICE_FLAG.BOUND4) | (pods.pod6 === ABSENT ? 0 : DEVICE_FLAG.BOUND6);
      return device(link, DEVICE_ROLE.POD, flags, 0, pods);
    }),
    ...state.bridges.map((link) => device(link, DEVICE_ROLE.BRIDGE, 0, 0)),
  ];
}

interface Bound {
  readonly pod4: Ip;
  readonly pod6: Ip;
}
const NOBODY: Bound = { pod4: ABSENT, pod6: ABSENT };

/** By device an endpoint of each family that lives behind it: of several always the same one. */
function bindingsOf(endpoints: readonly Row[]): Map<number, Bound> {
  const bound = new Map<number, Bound>();
  for (const { key, value } of [...endpoints].sort((a, b) => (a.key < b.key ? 1 : -1))) {
    const { ifindex, flags } = decodeEndpoint(Buffer.from(value, 'latin1'));
    if (ifindex === 0 || (flags & BACKEND_FLAG.HOST) !== 0) continue;
    const ip = ipCodec.decode(Buffer.from(key, 'latin1'), 0);
    bound.set(ifindex, { ...(bound.get(ifindex) ?? NOBODY), [ip.includes(':') ? 'pod6' : 'pod4']: ip });
  }
  return bound;
}

function sourceRow(prefix: Prefix, name: number): Row {
  const key = { bits: mappedBits(prefix), address: prefix.address };
  return row('weir_sources', [prefixKeyCodec, key], [u32Codec, name]);
}

function endpointRow(
  ip: Ip,
  { host, policy = NO_POLICY }: NodeEndpoint,
  state: NodeState,
  before: ReadonlyMap<string, Row>,
): Row {
  const flags = BACKEND_FLAG.LOCAL | (host ? BACKEND_FLAG.HOST : 0);
  const known = before.get(rowKey({ table: 'weir_endpoints', key: bytes(ipCodec, ip) }));
  /* what the programs have learnt holds while that device exists */
  const learnt = known ? decodeEndpoint(Buffer.from(known.value, 'latin1')).ifindex : 0;
  const alive = state.pods.some((link) => link.ifindex === learnt);
  const ifindex = state.bindings.get(ip)?.ifindex ?? (alive ? learnt : 0);
  return row('weir_endpoints', [ipCodec, ip], [endpointCodec, { ifindex, flags, ...policy }]);
}
