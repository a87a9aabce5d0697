/** Weir's own metrics. What the kernel counts is read when somebody asks for it, and costs a few reads however much there is. */
import { Counter, exponentialBuckets, Gauge, Histogram, type Registry } from 'prom-client';

/** What a dataplane tells of itself at a scrape. */
export interface Measures {
  /** Packets and bytes by reason, since the dataplane was installed. */
  readonly reasons: readonly {
    readonly reason: string;
    readonly drop: boolean;
    readonly packets: number;
    readonly bytes: number;
  }[];
  readonly maps: readonly { readonly map: string; readonly entries: number; readonly capacity: number }[];
  /** Devices that carry programs, by role. */
  readonly devices: readonly { readonly role: string; readonly count: number }[];
  /** How often the tables were brought to another state. */
  readonly generation: number;
}

export interface BuildInfo {
  readonly version: string;
  readonly dataplane: string;
}

export class WeirMetrics {
  readonly #measure: () => Measures;
  readonly #services: () => number;
  readonly #counts: Readonly<Record<'packets' | 'bytes' | 'drops', Counter<'reason'>>>;
  readonly #maps: Readonly<Record<'entries' | 'capacity', Gauge<'map'>>>;
  readonly #devices: Gauge<'role'>;
  readonly #generation: Gauge;
  readonly #served: Gauge;
  readonly #synced: Gauge;
  readonly #latency: Histogram;
  readonly #cpu: Counter;
  readonly #memory: Gauge;

  constructor(registry: Registry, build: BuildInfo, measure: () => Measures, services: () => number) {
    this.#measure = measure;
    this.#services = services;
    const registers = [registry];
    const gauge = (name: string, help: string): Gauge => new Gauge({ name, help, registers });
    const byReason = (name: string, help: string): Counter<'reason'> =>
      new Counter({ name, help, labelNames: ['reason'], registers });
    const byMap = (name: string, help: string): Gauge<'map'> =>
      new Gauge({ name, help, labelNames: ['map'], registers });
    this.#counts = {
      packets: byReason('weir_packets_total', 'Packets by what became of them'),
      bytes: byReason('weir_bytes_total', 'Bytes of packets by what became of them'),
      drops: byReason('weir_drops_total', 'Packets that ended here, by reason'),
    };
    this.#maps = {
      entries: byMap('weir_map_entries', 'Entries in use'),
      capacity: byMap('weir_map_capacity', 'Entries that there is room for'),
    };
    const devices = 'Devices that carry programs, by role';
    this.#devices = new Gauge({ name: 'weir_attached_devices', help: devices, labelNames: ['role'], registers });
    this.#generation = gauge('weir_generation', 'How often the tables were brought to another state');
    this.#served = gauge('weir_services', 'Services that are known');
    this.#synced = gauge('weir_synced', '1 when all that was read at the start is in the kernel');
    this.#latency = new Histogram({
      name: 'weir_sync_latency_seconds',
      help: 'From the arrival of a change to its being in the kernel, in seconds',
      buckets: exponentialBuckets(0.001, 2, 15),
      registers,
    });
    const info = new Gauge({
      name: 'weir_build_info',
      help: 'Always 1',
      labelNames: ['version', 'dataplane'],
      registers,
    });
    info.set({ version: build.version, dataplane: build.dataplane }, 1);
    const cpu = 'CPU time of the agent, in seconds';
    this.#cpu = new Counter({ name: 'process_cpu_seconds_total', help: cpu, registers });
    this.#memory = gauge('process_resident_memory_bytes', 'Resident memory of the agent');
    gauge('process_start_time_seconds', 'When the agent was started').set(Date.now() / 1000 - process.uptime());
  }

  /** A change that arrived so many seconds ago is in the kernel. */
  applied(seconds: number): void {
    this.#latency.observe(seconds);
  }

  /** Reads what the kernel and the process say now. */
  refresh(synced: boolean): void {
    const { reasons, maps, devices, generation } = this.#measure();
    for (const counter of Object.values(this.#counts)) counter.reset();
    for (const { reason, drop, packets, bytes } of reasons) {
      this.#counts.packets.inc({ reason }, packets);
      this.#counts.bytes.inc({ reason }, bytes);
      if (drop) this.#counts.drops.inc({ reason }, packets);
    }
    for (const { map, entries, capacity } of maps) {
      this.#maps.entries.set({ map }, entries);
      this.#maps.capacity.set({ map }, capacity);
    }
    for (const { role, count } of devices) this.#devices.set({ role }, count);
    this.#generation.set(generation);
    this.#served.set(this.#services());
    this.#synced.set(synced ? 1 : 0);
    const { user, system } = process.cpuUsage();
    this.#cpu.reset();
    this.#cpu.inc((user + system) / 1e6);
    this.#memory.set(process.memoryUsage.rss());
  }
}
