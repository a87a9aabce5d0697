/** What the programs wrote into their tables, in words. */
import { formatSocket, type Ip, ipFromBytes, protocolName } from '../../src/core/net.js';
import {
  type Flow,
  type Flow6Key,
  FLOW_FLAG,
  FLOW_KIND,
  FLOW_STATE,
  FORWARDING,
  HOOK,
  MAPS,
  REASON_TEXT,
} from '../../src/maps/layout.js';
import { openTable, type Table } from '../../src/maps/table.js';

/** One entry of a flow table. */
export interface SeenFlow {
  readonly table: 'flows' | 'snat';
  /** `TCP 198.51.100.7:40000 > 192.0.2.10:80`: the packets that it is for. */
  readonly key: string;
  readonly kind: string;
  /** What address and port, nat and natPort are replaced by; see struct flow. */
  readonly address: string;
  readonly nat: string;
  readonly state: string;
  readonly forwarding: string;
  readonly flags: string;
}

export interface SeenDrop {
  readonly reason: string;
  readonly hook: string;
  /** `TCP source > destination:port` */
  readonly packet: string;
  readonly ifindex: number;
  /** Name of what decided, '' where nothing is named. */
  readonly rule: string;
}

/** What has changed since a look. */
export interface Observation {
  /** Packets by name of the reason; only counters that moved. */
  readonly counters: Readonly<Record<string, number>>;
  /** Bytes of those, together. */
  readonly bytes: number;
  readonly drops: readonly SeenDrop[];
  /** New entries. */
  readonly flows: readonly SeenFlow[];
}

interface Look {
  readonly packets: ReadonlyMap<number, bigint>;
  readonly bytes: bigint;
  readonly drops: ReadonlyMap<string, bigint>;
  readonly flows: ReadonlySet<string>;
}

const TABLES = [
  'weir_config',
  'weir_flows4',
  'weir_flows6',
  'weir_snat',
  'weir_fragments',
  'weir_drops',
  'weir_counters',
  'weir_hops',
  'weir_rate',
  'weir_loads',
  'weir_affinity',
  'weir_traffic',
  'weir_backends',
  'weir_devices',
  'weir_endpoints',
  'weir_uplinks',
  'weir_frontends',
  'weir_admitted4',
  'weir_admitted6',
  'weir_names',
] as const;
type Observed = (typeof TABLES)[number];
type OpenTables = {
  readonly [N in Observed]: (typeof MAPS)[N] extends {
    key: { decode(...args: never[]): infer K };
    value: { decode(...args: never[]): infer V };
  }
    ? Table<K, V>
    : never;
};

export class Observer implements Disposable {
  readonly tables: OpenTables;

  constructor(root: string) {
    this.tables = Object.fromEntries(TABLES.map((name) => [name, openTable(root, MAPS[name] as never)])) as never;
  }

  look(): Look {
    const counters = [...this.tables.weir_counters.entriesPerCpu()];
    return {
      packets: new Map(
        counters.map(([reason, values]) => [reason, values.reduce((sum, value) => sum + value.packets, 0n)]),
      ),
      bytes: counters.flatMap(([, values]) => values).reduce((sum, value) => sum + value.bytes, 0n),
      drops: new Map([...this.tables.weir_drops.entries()].map(([key, drop]) => [JSON.stringify(key), drop.count])),
      flows: new Set(this.flows().map(({ table, key }) => `${table} ${key}`)),
    };
  }

  since(before: Look): Observation {
    const now = this.look();
    const moved = [...now.packets].map(
      ([reason, packets]) => [nameOf(reason), Number(packets - (before.packets.get(reason) ?? 0n))] as const,
    );
    const drops = [...this.tables.weir_drops.entries()].filter(
      ([key, drop]) => before.drops.get(JSON.stringify(key)) !== drop.count,
    );
    return {
      counters: Object.fromEntries(moved.filter(([, packets]) => packets !== 0)),
      bytes: Number(now.bytes - before.bytes),
      drops: drops.map(([key, { ifindex, rule }]) => ({
        reason: nameOf(key.reason),
        hook: nameIn(HOOK, key.hook),
        packet: `${protocolName(key.protocol)} ${key.source} > ${formatSocket(key.destination, key.port)}`,
        ifindex,
        rule: this.tables.weir_names.get(rule)?.text ?? '',
      })),
      flows: this.flows().filter(({ table, key }) => !before.flows.has(`${table} ${key}`)),
    };
  }

  /** Packets that ended for this reason, ever. */
  packets(reason: string): number {
    const counts = [...this.tables.weir_counters.entriesPerCpu()].filter(([number]) => nameOf(number) === reason);
    return Number(counts.flatMap(([, cores]) => cores).reduce((sum, { packets }) => sum + packets, 0n));
  }

  flows(): SeenFlow[] {
    const v4 = [...this.tables.weir_flows4.entries()].map(([key, flow]) => {
      const wide = { ...key, source: fromNumber(key.source), destination: fromNumber(key.destination) };
      return describe('flows', wide, flow);
    });
    const v6 = [...this.tables.weir_flows6.entries()].map(([key, flow]) => describe('flows', key, flow));
    const snat = [...this.tables.weir_snat.entries()].map(([key, flow]) => describe('snat', key, flow));
    return [...v4, ...v6, ...snat].sort((a, b) => a.kind.localeCompare(b.kind) || a.key.localeCompare(b.key));
  }

  /** Changes entries of the flow tables: as time would, or a kernel that is short of memory. */
  age(change: (flow: Flow) => Flow | undefined): void {
    for (const table of [this.tables.weir_flows4, this.tables.weir_flows6, this.tables.weir_snat] as unknown as Table<
      unknown,
      Flow
    >[]) {
      for (const [key, flow] of [...table.entries()]) {
        const changed = change(flow);
        if (changed) table.set(key, changed);
        else table.delete(key);
      }
    }
  }

  /** Empties what the programs remember. */
  forget(): void {
    this.age(() => undefined);
    for (const [key] of [...this.tables.weir_admitted4.entries()]) this.tables.weir_admitted4.delete(key);
    for (const [key] of [...this.tables.weir_admitted6.entries()]) this.tables.weir_admitted6.delete(key);
    for (const [key] of [...this.tables.weir_drops.entries()]) this.tables.weir_drops.delete(key);
    for (const [key] of [...this.tables.weir_fragments.entries()]) this.tables.weir_fragments.delete(key);
    for (const [id] of [...this.tables.weir_backends.entries()]) {
      this.tables.weir_hops.set(id, { where: 0n, until: 0n });
      this.tables.weir_loads.set(id, { flows: 0, changes: 0, counted: 0, changesBefore: 0 });
      this.tables.weir_traffic.set(id, { packets: 0n, bytes: 0n, replyPackets: 0n, replyBytes: 0n });
    }
    for (const [key] of [...this.tables.weir_affinity.entries()]) this.tables.weir_affinity.delete(key);
    this.tables.weir_rate.set(0, { since: 0n, flows: 0n });
  }

  [Symbol.dispose](): void {
    for (const name of TABLES) this.tables[name][Symbol.dispose]();
  }
}

function describe(table: 'flows' | 'snat', key: Flow6Key, flow: Flow): SeenFlow {
  const flags = Object.entries(FLOW_FLAG).filter(([, bit]) => flow.flags & bit);
  return {
    table,
    key: `${protocolName(key.protocol)} ${formatSocket(key.source, key.sourcePort)} > ${formatSocket(key.destination, key.destinationPort)}`,
    kind: nameIn(FLOW_KIND, flow.kind),
    address: formatSocket(flow.address, flow.port),
    nat: formatSocket(flow.nat, flow.natPort),
    state: nameIn(FLOW_STATE, flow.state),
    forwarding: nameIn(FORWARDING, flow.forwarding),
    flags: flags.map(([name]) => name).join(' '),
  };
}

function fromNumber(address: number): Ip {
  const bytes = Buffer.from('00000000000000000000ffff00000000', 'hex');
  bytes.writeUInt32BE(address, 12);
  return ipFromBytes(bytes);
}

function nameOf(reason: number): string {
  return REASON_TEXT[reason]?.name ?? `${reason}`;
}

function nameIn(names: Readonly<Record<string, number>>, number: number): string {
  return Object.entries(names).find(([, value]) => value === number)?.[0] ?? `${number}`;
}
