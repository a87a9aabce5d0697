/** From desired services to map rows: numbers instead of names, bytes instead of objects. */
import {
  backendsByTunnel,
  type DesiredBackend,
  type DesiredFrontend,
  type DesiredService,
  type FrontendKind,
} from '../core/desired.js';
import { maglevSize, maglevTable } from '../core/maglev.js';
import type { Forwarding, Scheduler } from '../core/model.js';
import { familyOf, formatSocket, type Ip, mappedBits, type Prefix, PROTOCOL_NUMBER } from '../core/net.js';
import type { Row } from '../core/plan.js';
import { rotation } from '../core/weights.js';
import type { Codec } from './codec.js';
import { ipCodec, u32Codec } from './codec.js';
import {
  BACKEND_FLAG,
  BACKEND_STATE,
  backendCodec,
  FORWARDING,
  FRONTEND_FLAG,
  FRONTEND_KIND,
  frontendCodec,
  frontendKeyCodec,
  localBackendCodec,
  localKeyCodec,
  nameCodec,
  rangeKeyCodec,
  type Frontend,
  SCHEDULER,
  type Selection,
} from './layout.js';

/** Tables in the order in which a plan fills them. Slots are ranges of the arena, keyed by their first chunk. */
export const RANKS = {
  weir_names: 0,
  weir_uplinks: 1,
  weir_devices: 1,
  weir_sources: 1,
  weir_ranges: 1,
  weir_endpoints: 1,
  weir_backends: 2,
  weir_local: 3,
  slots: 4,
  weir_frontends: 5,
  weir_policy: 1,
  weir_policysets: 2,
  weir_classes: 3,
  weir_vips: 6, // last to come and first to go: a port that is not known yet would be refused
} as const;
export type RankedTable = keyof typeof RANKS;

const KIND: Readonly<Record<FrontendKind, number>> = {
  ClusterIP: FRONTEND_KIND.CLUSTER_IP,
  NodePort: FRONTEND_KIND.NODE_PORT,
  ExternalIP: FRONTEND_KIND.EXTERNAL_IP,
  LoadBalancer: FRONTEND_KIND.LOAD_BALANCER,
};
export const SCHEDULER_NUMBER: Readonly<Record<Scheduler, number>> = {
  maglev: SCHEDULER.MAGLEV,
  rr: SCHEDULER.RR,
  lc: SCHEDULER.LC,
  sh: SCHEDULER.SH,
  dh: SCHEDULER.DH,
  random: SCHEDULER.RANDOM,
};

/**
 * The keys under which node ports stand once more, one a family: for every node's address, since what arrives through a tunnel
 * names that node's, and for the loopback addresses of processes on this host.
 */
export const ANY_NODE = { v4: '0.0.0.0' as Ip, v6: '::' as Ip } as const;

const FORWARDING_NUMBER: Readonly<Record<Forwarding, number>> = {
  nat: FORWARDING.NAT,
  dsr: FORWARDING.DSR,
  'dsr-l2': FORWARDING.DSR_L2,
};

/** What encoding needs of the state that outlives it. Each throws WEIR_FULL where nothing is left. */
export interface Numbering {
  nameId(text: string): number;
  backendId(service: number, backend: DesiredBackend): number;
  /** First chunk of the range that holds these words: the one in use where it does already, else a new one. */
  chunk(place: SelectionPlace, words: Uint32Array): number;
}
export type Side = 'outside' | 'inside' | 'tunnelled';

/** Whose selection it is, and how it is read. */
export interface SelectionPlace {
  /** Encoded key of the frontend. */
  readonly key: string;
  readonly side: Side;
  /** SCHEDULER. */
  readonly scheduler: number;
  /** s, 0: none. */
  readonly affinity: number;
}

export function row<K, V>(table: RankedTable, key: [Codec<K>, K], value: [Codec<V>, V]): Row {
  return { table, key: bytes(...key), value: bytes(...value) };
}

export function bytes<T>(codec: Codec<T>, value: T): string {
  codec.encode(value, scratch, 0);
  return scratch.toString('latin1', 0, codec.size);
}
const scratch = Buffer.alloc(1024);

/** The packet alone tells the backend: such a table is the same for every frontend with the same backends. */
export function isHashed(scheduler: number): boolean {
  return scheduler === SCHEDULER.MAGLEV || scheduler === SCHEDULER.SH || scheduler === SCHEDULER.DH;
}

/** Where the backends begin in a selection's words: after the counter of a rotation. */
export function firstSlot(scheduler: number): number {
  return isHashed(scheduler) ? 0 : scheduler === SCHEDULER.LC ? 2 : 1;
}

type Chooser = Pick<Frontend, 'scheduler' | 'affinity'>;

/** Words of a selection before its list of members: see struct selection. */
export function slotsEnd({ scheduler }: Pick<Frontend, 'scheduler'>, size: number): number {
  return firstSlot(scheduler) + (scheduler === SCHEDULER.LC ? 2 * size : size);
}

/** How many words a selection takes in the arena. */
export function wordsOf(chooser: Chooser, { size, backends }: Pick<Selection, 'size' | 'backends'>): number {
  return slotsEnd(chooser, size) + (chooser.affinity > 0 ? backends : 0);
}

export function slotsRow(chunk: number, words: number): Row {
  return row('slots', [u32Codec, chunk], [u32Codec, words]);
}

export function encodeService(service: DesiredService, numbering: Numbering): Row[] {
  const rows: Row[] = [];
  for (const port of service.ports) {
    if (port.frontends.length === 0) continue;
    const id = numbering.nameId(port.label);
    rows.push(row('weir_names', [u32Codec, id], [nameCodec, { text: port.label }]));
    const ids = new Map<DesiredBackend, number>();
    for (const backend of port.backends) encodeBackend(rows, ids, id, backend, numbering);
    const tables = new Map<string, Selection>();
    for (const frontend of port.frontends) encodeFrontend(rows, id, frontend, port.backends, ids, tables, numbering);
    for (const range of port.sourceRanges) rows.push(rangeRow(id, range));
  }
  return rows;
}

/** Bits of the owner in a range's key. */
const OWNER_BITS = 32;

export function rangeRow(owner: number, range: Prefix): Row {
  const key = { bits: OWNER_BITS + mappedBits(range), owner, address: range.address };
  return row('weir_ranges', [rangeKeyCodec, key], [u32Codec, 1]);
}

function encodeBackend(
  rows: Row[],
  ids: Map<DesiredBackend, number>,
  service: number,
  backend: DesiredBackend,
  numbering: Numbering,
): void {
  const id = numbering.backendId(service, backend);
  const { address, port, weight } = backend;
  const flags = (backend.local ? BACKEND_FLAG.LOCAL : 0) | (backend.host ? BACKEND_FLAG.HOST : 0);
  const state = backend.state === 'active' ? BACKEND_STATE.ACTIVE : BACKEND_STATE.TERMINATING;
  const node = backend.nodeName === '' ? 0 : numbering.nameId(`Node ${backend.nodeName}`);
  const protocol = PROTOCOL_NUMBER[backend.protocol];
  ids.set(backend, id);
  rows.push(
    row(
      'weir_backends',
      [u32Codec, id],
      [backendCodec, { address, port, protocol, state, service, node, weight, flags, until: 0 }],
    ),
  );
  if (backend.local) {
    rows.push(row('weir_local', [localKeyCodec, { address, service }], [localBackendCodec, { backend: id, port }]));
  }
}

function encodeFrontend(
  rows: Row[],
  service: number,
  frontend: DesiredFrontend,
  backends: readonly DesiredBackend[],
  ids: ReadonlyMap<DesiredBackend, number>,
  tables: Map<string, Selection>,
  numbering: Numbering,
): void {
  const { address, port, affinity } = frontend;
  const scheduler = SCHEDULER_NUMBER[frontend.scheduler];
  const protocol = PROTOCOL_NUMBER[frontend.protocol];
  const key = bytes(frontendKeyCodec, { address, port, protocol });
  const select = (side: Side, list: readonly DesiredBackend[]): Selection => {
    /* a rotation belongs to one frontend; a hashed table is the same for all frontends with the same backends */
    const identity = `${isHashed(scheduler) ? '' : key} ${list.map((backend) => `${ids.get(backend)}*${backend.weight}`).join()}`;
    const known = tables.get(identity);
    if (known) return known;
    const selection = encodeSelection(rows, { key, side, scheduler, affinity }, list, ids, numbering);
    tables.set(identity, selection);
    return selection;
  };
  const value = {
    service,
    kind: KIND[frontend.kind],
    scheduler,
    forwarding: FORWARDING_NUMBER[frontend.forwarding],
    flags: (frontend.exists ? FRONTEND_FLAG.EXISTS : 0) | (frontend.restricted ? FRONTEND_FLAG.RANGES : 0),
    affinity,
    outside: select('outside', frontend.outside),
    inside: select('inside', frontend.inside),
    tunnelled: select('tunnelled', backendsByTunnel(frontend, backends)),
  };
  rows.push({ table: 'weir_frontends', key, value: bytes(frontendCodec, value) });
  if (frontend.virtual) rows.push(row('weir_vips', [ipCodec, address], [u32Codec, 1]));
  if (frontend.kind === 'NodePort') {
    /* nobody out there may choose by it */
    const outside = { chunk: 0, size: 0, backends: 0 };
    const any = { address: ANY_NODE[familyOf(address)], port, protocol };
    rows.push(row('weir_frontends', [frontendKeyCodec, any], [frontendCodec, { ...value, outside }]));
  }
}

function encodeSelection(
  rows: Row[],
  place: SelectionPlace,
  list: readonly DesiredBackend[],
  ids: ReadonlyMap<DesiredBackend, number>,
  numbering: Numbering,
): Selection {
  const weighted = list.filter((backend) => backend.weight > 0);
  const backends = weighted.length;
  if (backends === 0) return { chunk: 0, size: 0, backends };
  const numbers = weighted.map((backend) => ids.get(backend) ?? 0);
  const slots = slotWords(place.scheduler, weighted, numbers);
  const size = place.scheduler === SCHEDULER.LC ? backends : slots.length - firstSlot(place.scheduler);
  const words = place.affinity > 0 ? withMembers(slots, numbers) : slots;
  const chunk = numbering.chunk(place, words);
  rows.push(slotsRow(chunk, words.length));
  return { chunk, size, backends };
}

function slotWords(scheduler: number, list: readonly DesiredBackend[], numbers: readonly number[]): Uint32Array {
  const weights = list.map(({ weight }) => weight);
  if (scheduler === SCHEDULER.LC)
    return Uint32Array.from([0, 0, ...numbers.flatMap((number, index) => [number, weights[index]!])]);
  if (!isHashed(scheduler)) return Uint32Array.from([0, ...rotation(weights).map((index) => numbers[index]!)]);
  const named = list.map(({ address, port, weight }) => ({ name: formatSocket(address, port), weight }));
  return maglevTable(named, maglevSize(list.length)).map((index) => numbers[index]!);
}

function withMembers(slots: Uint32Array, numbers: readonly number[]): Uint32Array {
  const words = new Uint32Array(slots.length + numbers.length);
  words.set(slots);
  words.set(Uint32Array.from(numbers).sort(), slots.length);
  return words;
}
