/**
 * The service tables: what the kernel holds, by service, and the changes that bring it to what is desired. State lives in the
 * kernel; the copy here is read from there at start, so that a restart writes only differences.
 */
import type { DesiredService } from '../core/desired.js';
import type { Ip } from '../core/net.js';
import { mergePlans, plan, type Row, rowKey, type Rows, toRows, type Write } from '../core/plan.js';
import { WeirError } from '../errors.js';
import { ipCodec } from './codec.js';
import {
  bytes,
  encodeService,
  isHashed,
  type Numbering,
  RANKS,
  type SelectionPlace,
  slotsRow,
  wordsOf,
} from './encode.js';
import { Ids } from './ids.js';
import type { KernelTables } from './kernel-tables.js';
import { asBytes, backendName, FOREVER, idOf } from './keys.js';
import { NodeNames, type Uses } from './node-names.js';
import { POLICY_NAMES } from './policy.js';
import { SharedRows } from './shared-rows.js';
import {
  BACKEND_STATE,
  backendCodec,
  decodeBackend,
  decodeFrontend,
  decodeFrontendKey,
  decodeLocalBackend,
  decodeLocalKey,
  decodeRangeKey,
  type Frontend,
  MAPS,
} from './layout.js';

/** ms that a number rests before it stands for something else. */
const ID_REST = 600_000;
/** Names of nodes: they belong to no service and are few. */
const NODES = '#nodes';
/** Entries whose service cannot be told: left over by a crash between two writes. */
const ORPHANS = '#orphans';

export interface ServiceTablesOptions {
  /** ms for which a removed backend keeps the TCP flows it has. */
  readonly drain: number;
  /** ms of CLOCK_MONOTONIC, by which deadlines outlive the agent. */
  readonly clock: () => number;
}

export class ServiceTables {
  readonly #tables: KernelTables;
  readonly #options: ServiceTablesOptions;
  readonly #names = new Ids(MAPS.weir_names.maxEntries, ID_REST);
  readonly #backends = new Ids(MAPS.weir_backends.maxEntries - 1, ID_REST);
  readonly #nodeNames = new NodeNames();
  readonly #rows = new Map<string, Map<string, Row>>();
  readonly #shared = new SharedRows('weir_vips');
  /** Backends and their local entries that are kept for their flows, with the end of their grace. */
  readonly #draining = new Map<string, { service: string; until: number }>();

  constructor(tables: KernelTables, options: ServiceTablesOptions) {
    this.#tables = tables;
    this.#options = options;
    this.#adopt();
  }

  /** What the kernel holds, by service. */
  rows(): ReadonlyMap<string, Rows> {
    return this.#rows;
  }

  /** The services that the kernel holds something of. */
  services(): string[] {
    return [...this.#rows.keys()].filter((key) => key !== NODES);
  }

  /**
   * The writes that bring the kernel from what it has to these services; `gone` are services that no longer exist. Applies
   * nothing: pass the result to commit.
   */
  prepare(desired: readonly DesiredService[], gone: readonly string[]): Change {
    const next = new Map<string, Map<string, Row>>();
    const nodes = new Map<number, string>();
    const fresh = new Map<number, Uint32Array>();
    for (const service of desired) next.set(service.key, this.#encode(service, nodes, fresh));
    for (const key of gone) next.set(key, new Map());
    const plans = [...next].map(([key, rows]) => plan(this.#rows.get(key) ?? EMPTY, rows, RANKS));
    const uses = this.#nodeNames.uses(plans.flat());
    const names = this.#nodeNames.after(this.#rows.get(NODES) ?? EMPTY, nodes, uses);
    plans.push(plan(this.#rows.get(NODES) ?? EMPTY, names, RANKS));
    next.set(NODES, names);
    const writes = mergePlans(plans, RANKS).filter(
      (write) => write.op === 'put' || !this.#shared.kept(write.row, next),
    );
    return { writes, next, fresh, uses };
  }

  /** Carries out a prepared change, in its order, and remembers the result. Returns the number of entries written. */
  commit(change: Change): number {
    const now = this.#options.clock();
    this.#tables.apply(change.writes, change.fresh, now);
    for (const write of change.writes) if (write.op === 'delete') this.#release(write.row, now);
    this.#nodeNames.commit(change.uses);
    for (const [key, rows] of change.next) {
      this.#shared.set(key, rows.values());
      if (rows.size > 0) this.#rows.set(key, rows);
      else this.#rows.delete(key);
    }
    return change.writes.length;
  }

  /** Services with a backend whose grace has ended: to be prepared again. */
  drained(): string[] {
    const now = this.#options.clock();
    const due = new Set<string>();
    for (const { service, until } of this.#draining.values()) if (until <= now) due.add(service);
    return [...due];
  }

  #encode(service: DesiredService, nodes: Map<number, string>, fresh: Map<number, Uint32Array>): Map<string, Row> {
    const before: Rows = this.#rows.get(service.key) ?? EMPTY;
    const rows = toRows(encodeService(service, this.#numbering(before, nodes, fresh)));
    this.#keepDraining(service.key, before, rows);
    return rows;
  }

  #numbering(before: Rows, nodes: Map<number, string>, fresh: Map<number, Uint32Array>): Numbering {
    const now = this.#options.clock();
    const full = (what: string): WeirError => new WeirError('WEIR_FULL', `number a ${what}: all numbers are in use`);
    return {
      nameId: (text) => {
        const id = this.#names.of(text, now);
        if (id === undefined) throw full('name');
        if (text.startsWith('Node ')) nodes.set(id, text);
        return id;
      },
      backendId: (id, backend) => {
        const number = this.#backends.of(backendName(id, backend), now);
        if (number === undefined) throw full('backend');
        return number;
      },
      chunk: (place, words) => this.#reusable(before, place, words) ?? this.#newRange(words, fresh, now),
    };
  }

  /** A range of this service's that holds the same already. A rotation is only taken over by the same frontend. */
  #reusable(before: Rows, { key, side, scheduler, affinity }: SelectionPlace, words: Uint32Array): number | undefined {
    const hashed = isHashed(scheduler);
    for (const row of before.values()) {
      if (row.table !== 'weir_frontends' || (!hashed && row.key !== key)) continue;
      const value = decodeFrontend(Buffer.from(row.value, 'latin1'));
      const alike = hashed ? isHashed(value.scheduler) : value.scheduler === scheduler;
      if (!alike || value.affinity > 0 !== affinity > 0) continue;
      for (const selection of hashed ? [value.outside, value.inside, value.tunnelled] : [value[side]]) {
        const { chunk } = selection;
        if (chunk === 0 || wordsOf(value, selection) !== words.length) continue;
        if (!before.has(rowKey(slotsRow(chunk, words.length)))) continue; // not a range of the arena, or somebody else's
        const first = hashed ? 0 : 1; // the counter runs on
        const present = this.#tables.arena.read(chunk, words.length).subarray(first);
        if (Buffer.compare(asBytes(present), asBytes(words.subarray(first))) === 0) return chunk;
      }
    }
    return undefined;
  }

  #newRange(words: Uint32Array, fresh: Map<number, Uint32Array>, now: number): number {
    const chunk = this.#tables.arena.allocate(words.length, now);
    fresh.set(chunk, words);
    return chunk;
  }

  /** Backends that have left the service stay, taking nothing new, until their grace ends. */
  #keepDraining(service: string, before: Rows, rows: Map<string, Row>): void {
    const now = this.#options.clock();
    const kept = new Set<number>();
    const named = new Set<number>();
    for (const [key, row] of before) {
      if (row.table !== 'weir_backends') continue;
      if (rows.has(key)) {
        this.#draining.delete(key);
        continue;
      }
      const until = this.#draining.get(key)?.until ?? now + this.#options.drain;
      if (until <= now) {
        this.#draining.delete(key);
        continue;
      }
      this.#draining.set(key, { service, until });
      kept.add(idOf(row));
      const backend = decodeBackend(Buffer.from(row.value, 'latin1'));
      const deadline = backend.until || Math.min(Math.ceil(until / 1000), FOREVER);
      const value = { ...backend, state: BACKEND_STATE.TERMINATING, until: deadline };
      named.add(value.service);
      rows.set(key, { ...row, value: bytes(backendCodec, value) });
    }
    for (const [key, row] of before) {
      if (rows.has(key)) continue;
      const isLocal =
        row.table === 'weir_local' && kept.has(decodeLocalBackend(Buffer.from(row.value, 'latin1')).backend);
      if (isLocal || (row.table === 'weir_names' && named.has(idOf(row)))) rows.set(key, row);
    }
  }

  #release(row: Row, now: number): void {
    const value = Buffer.from(row.value, 'latin1');
    if (row.table === 'weir_names') this.#names.release(MAPS.weir_names.value.decode(value, 0).text, now);
    if (row.table === 'weir_backends') {
      const backend = decodeBackend(value);
      this.#backends.release(backendName(backend.service, backend), now);
      this.#draining.delete(rowKey(row));
    }
  }

  /** Reads what is pinned and sorts it by service. */
  #adopt(): void {
    this.#tables.arena.freeAll(this.#options.clock()); // of an attempt before this one, in the same process
    const owner = this.#adoptNames();
    for (const row of this.#tables.read('weir_backends')) {
      const backend = decodeBackend(Buffer.from(row.value, 'latin1'));
      this.#backends.adopt(backendName(backend.service, backend), idOf(row));
      if (backend.node !== 0) this.#nodeNames.adoptBackend(backend.node);
      const service = owner.get(backend.service) ?? ORPHANS;
      this.#own(service, row);
      if (backend.until > 0) this.#draining.set(rowKey(row), { service, until: backend.until * 1000 });
    }
    for (const row of this.#tables.read('weir_local')) {
      this.#own(owner.get(decodeLocalKey(Buffer.from(row.key, 'latin1')).service) ?? ORPHANS, row);
    }
    for (const row of this.#tables.read('weir_ranges')) {
      const { owner: id } = decodeRangeKey(Buffer.from(row.key, 'latin1'));
      if (id !== 0) this.#own(owner.get(id) ?? ORPHANS, row); // 0: the node's
    }
    const addresses = new Map<Ip, Set<string>>();
    for (const row of this.#tables.read('weir_frontends')) {
      const frontend = decodeFrontend(Buffer.from(row.value, 'latin1'));
      const service = owner.get(frontend.service) ?? ORPHANS;
      this.#own(service, row);
      this.#adoptSlots(service, frontend);
      const { address } = decodeFrontendKey(Buffer.from(row.key, 'latin1'));
      addresses.set(address, (addresses.get(address) ?? new Set()).add(service));
    }
    this.#adoptAddresses(addresses);
  }

  /** Returns the services by the numbers that stand for their ports. */
  #adoptNames(): Map<number, string> {
    const owner = new Map<number, string>();
    for (const row of this.#tables.read('weir_names')) {
      if (idOf(row) >= POLICY_NAMES) continue;
      const { text } = MAPS.weir_names.value.decode(Buffer.from(row.value, 'latin1'), 0);
      this.#names.adopt(text, idOf(row));
      if (text.startsWith('Node ')) this.#nodeNames.adopt(idOf(row));
      const service = /^Service (.*):[^:]*$/.exec(text)?.[1];
      if (service !== undefined) owner.set(idOf(row), service);
      this.#own(service ?? NODES, row);
    }
    return owner;
  }

  /** Addresses belong to every service that has a frontend there. */
  #adoptAddresses(owners: ReadonlyMap<Ip, ReadonlySet<string>>): void {
    for (const row of this.#tables.read('weir_vips')) {
      const holders = owners.get(ipCodec.decode(Buffer.from(row.key, 'latin1'), 0)) ?? [ORPHANS];
      for (const service of holders) this.#own(service, row);
    }
    for (const [service, rows] of this.#rows) this.#shared.set(service, rows.values());
  }

  #adoptSlots(service: string, frontend: Frontend): void {
    for (const selection of [frontend.outside, frontend.inside, frontend.tunnelled]) {
      const { chunk } = selection;
      if (chunk === 0) continue;
      const words = wordsOf(frontend, selection);
      const slots = slotsRow(chunk, words);
      if (this.#rows.get(service)?.has(rowKey(slots))) continue;
      if (this.#tables.arena.reserve(chunk, words)) this.#own(service, slots);
    }
  }

  #own(service: string, row: Row): void {
    const rows = this.#rows.get(service) ?? new Map<string, Row>();
    rows.set(rowKey(row), row);
    this.#rows.set(service, rows);
  }
}

/** Writes that belong together, not yet carried out. */
export interface Change {
  readonly writes: readonly Write[];
  readonly next: ReadonlyMap<string, Map<string, Row>>;
  /** Contents of the new ranges of the arena, by first chunk. */
  readonly fresh: ReadonlyMap<number, Uint32Array>;
  /** How many backends then name each node. */
  readonly uses: Uses;
}

const EMPTY: Rows = new Map();
