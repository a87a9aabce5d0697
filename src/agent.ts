/**
 * The agent: the composition root and the only loop. Objects come from a source, are compiled, and the differences go to the
 * kernel; the node's devices are watched and get their programs. All that must outlive the agent is pinned.
 */
import { statSync } from 'node:fs';
import { type DesiredService, type Settings } from './core/desired.js';
import type { Problem, Source } from './core/model.js';
import type { Ip } from './core/net.js';
import { bindings, deviceRoles, type Link, type Network, type Roles } from './core/network.js';
import { chooseDevices, settingsFingerprint, settingsOf, tunnelSources } from './core/settings.js';
import { Store } from './core/store.js';
import { describeError } from './errors.js';
import { serveHealth } from './host/health.js';
import { NetworkMonitor } from './host/monitor.js';
import { readNetwork } from './host/network.js';
import { neededSysctls, writeSysctl } from './host/sysctl.js';
import { ticksPerSecond } from './loader/clock.js';
import { type Dataplane, openDataplane } from './loader/dataplane.js';
import { KernelTables } from './maps/kernel-tables.js';
import { type Config, LAYOUT_HASH, MAPS } from './maps/layout.js';
import { NodeTables } from './maps/node.js';
import { localEndpoints, ServiceTables } from './maps/services.js';
import { openTable, type Table } from './maps/table.js';
import type { AgentOptions } from './options.js';

export type Log = (level: 'info' | 'warn' | 'error', message: string) => void;

/** New flows a second on one core above which those that a hash carries are not recorded. */
const FLOOD_RATE = 125_000;
const SWEEP_INTERVAL = 5_000;
const HOUSEKEEPING_INTERVAL = 1_000;
const NETWORK_DELAY = 30;
/** ms for which a removed backend keeps its TCP flows. */
const DRAIN = 300_000;

export class Agent {
  readonly #options: AgentOptions;
  readonly #log: Log;
  readonly #store = new Store();
  readonly #dataplane: Dataplane;
  readonly #tables: KernelTables;
  readonly #config: Table<number, Config>;
  readonly #node: NodeTables;
  #services: ServiceTables;
  #network: Network;
  #roles: Roles;
  #settings: Settings;
  /** Addresses of the endpoints on this node, by service. */
  readonly #local = new Map<string, ReadonlyMap<Ip, { host: boolean }>>();
  readonly #attached = new Map<number, string>();
  readonly #xdp = new Set<number>();
  #sourceSynced = false;
  #generation = 0n;
  #writes = 0;
  #sweeping = false;
  /** One moment on both clocks: flows are timed in ticks, people read seconds. */
  #clock = { ticks: 0n, ticksTime: 0n };
  #reading = false;
  #failing = false;

  constructor(options: AgentOptions, log: Log, network: Network, objectPath: string) {
    this.#options = options;
    this.#log = log;
    this.#network = network;
    this.#roles = chooseDevices(network, options);
    this.#settings = settingsOf(options, network, this.#roles, this.#store.nodes);
    this.#setSysctlsLater = neededSysctls();
    const { bpfRoot, flowEntries } = options;
    this.#dataplane = openDataplane({ objectPath, bpfRoot, ...(flowEntries ? { flowEntries } : {}) });
    this.#tables = new KernelTables(bpfRoot);
    this.#config = openTable(bpfRoot, MAPS.weir_config);
    this.#services = this.#adopt();
    for (const [key, rows] of this.#services.rows()) this.#local.set(key, localEndpoints(rows));
    this.#node = new NodeTables(this.#tables);
    this.#generation = this.#config.get(0)?.generation ?? 0n;
    this.#writeConfig(false);
    this.#applySysctls();
  }
  readonly #setSysctlsLater: ReturnType<typeof neededSysctls>;

  /** Runs until stop is called by the signal; the dataplane stays when it ends. */
  async run(source: Source, signal: AbortSignal): Promise<void> {
    await this.#sweep();
    this.#attachDevices();
    this.#syncNode();
    let networkTimer: NodeJS.Timeout | undefined;
    using _monitor = new NetworkMonitor(() => {
      networkTimer ??= setTimeout(() => {
        networkTimer = undefined;
        void this.#networkChanged();
      }, NETWORK_DELAY);
    });
    await using _health = await this.#serveHealth();
    const sweep = setInterval(() => void this.#sweep(), SWEEP_INTERVAL);
    const housekeeping = setInterval(() => this.#housekeep(), HOUSEKEEPING_INTERVAL);
    try {
      await source.start({
        changes: (changes) => {
          this.#store.apply(changes);
          if (this.#sourceSynced) this.#guarded(() => this.#flush());
        },
        problem: (problem) => this.#report(problem),
        synced: () => {
          this.#sourceSynced = true;
          this.#guarded(() => this.#firstSync());
        },
      });
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
      });
    } finally {
      clearInterval(sweep);
      clearInterval(housekeeping);
      clearTimeout(networkTimer);
      await source.stop();
    }
  }

  /** Probes are worth a warning, not the dataplane: without a free port the agent runs on. */
  async #serveHealth(): Promise<AsyncDisposable | undefined> {
    const { health } = this.#options;
    if (!health) return undefined;
    try {
      return await serveHealth(health.address, health.port, () => ({
        synced: this.#sourceSynced,
        lastSync: Number(this.#config.get(0)?.lastSync ?? 0n),
        failing: this.#failing,
      }));
    } catch (error) {
      this.#log('warn', describeError(error));
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    this.#config[Symbol.dispose]();
    this.#tables[Symbol.dispose]();
    this.#dataplane[Symbol.dispose]();
  }

  #adopt(): ServiceTables {
    return new ServiceTables(this.#tables, { drain: DRAIN, clock: () => Math.round(performance.now()) });
  }

  /** Everything that the source had at the start, with the removal of what is no more. */
  #firstSync(): void {
    const started = performance.now();
    const { desired, gone } = this.#take();
    const known = new Set(this.#options.runServiceProxy ? this.#store.services() : []);
    const vanished = this.#services.services().filter((key) => !known.has(key));
    const writes = this.#commit(desired, [...gone, ...vanished]) + this.#writes;
    this.#writeConfig(true);
    const took = Math.round(performance.now() - started);
    this.#log('info', `synced services=${this.#store.services().length} entries-changed=${writes} took=${took}ms`);
  }

  /** What has changed since, down to the kernel. */
  #flush(): void {
    const started = performance.now();
    const { desired, gone } = this.#take();
    if (desired.length === 0 && gone.length === 0) return;
    const writes = this.#commit(desired, gone);
    if (writes === 0) return;
    this.#writeConfig(true);
    const names = [...desired.map((service) => service.key), ...gone];
    const shown = names.slice(0, 3).join(',') + (names.length > 3 ? `,+${names.length - 3}` : '');
    this.#log(
      'info',
      `applied services=${shown} entries-changed=${writes} took=${(performance.now() - started).toFixed(1)}ms`,
    );
  }

  #take(): { desired: DesiredService[]; gone: string[] } {
    if (this.#store.takeNodesChanged()) this.#nodesChanged();
    const { desired, gone } = this.#store.take(this.#settings);
    return this.#options.runServiceProxy ? { desired, gone } : { desired: [], gone };
  }

  #commit(desired: readonly DesiredService[], gone: readonly string[]): number {
    for (const service of desired) service.problems.forEach((problem) => this.#report(problem));
    const change = this.#services.prepare(desired, gone);
    const before = [...change.next.keys()].map((key) => this.#local.get(key) ?? new Map<Ip, { host: boolean }>());
    const after = [...change.next].map(([key, rows]): [string, ReadonlyMap<Ip, { host: boolean }>] => [
      key,
      localEndpoints(rows),
    ]);
    const localChanged =
      JSON.stringify(before.map((map) => [...map])) !== JSON.stringify(after.map(([, map]) => [...map]));
    /* an endpoint is known before the first packet can come for it, and until the last one may have */
    after.forEach(([key, map], index) => this.#local.set(key, new Map([...(before[index] ?? []), ...map])));
    let writes = localChanged ? this.#syncNode() : 0;
    writes += this.#services.commit(change);
    for (const [key, map] of after)
      if (map.size > 0) this.#local.set(key, map);
      else this.#local.delete(key);
    if (localChanged) writes += this.#syncNode();
    if (change.writes.some((write) => write.row.table === 'weir_backends')) void this.#sweep();
    return writes;
  }

  /** Applies what a callback does; after a failure the kernel is read again, so that the next attempt starts from what is. */
  #guarded(work: () => void): void {
    try {
      work();
      this.#failing = false;
    } catch (error) {
      this.#failing = true;
      this.#log('error', describeError(error));
      try {
        this.#services = this.#adopt();
        this.#store.invalidate();
      } catch (again) {
        this.#log('error', describeError(again));
      }
    }
  }

  #nodesChanged(): void {
    this.#refreshSettings();
    this.#syncNode();
  }

  /** Puts the programs onto every device that should have them and has not. Devices that are gone took theirs along. */
  #attachDevices(): void {
    const present = new Set(this.#network.links.map((link) => link.ifindex));
    for (const ifindex of this.#attached.keys()) if (!present.has(ifindex)) this.#attached.delete(ifindex);
    for (const link of this.#roles.uplinks) this.#attach(link, 'uplink');
    for (const link of this.#roles.pods) this.#attach(link, 'pod');
  }

  #attach(link: Link, role: 'uplink' | 'pod'): void {
    if (this.#attached.get(link.ifindex) === role) return;
    try {
      this.#dataplane.attachTc(link, 'ingress', role === 'uplink' ? 'weir_up_in' : 'weir_pod_in');
      this.#dataplane.attachTc(link, 'egress', role === 'uplink' ? 'weir_up_out' : 'weir_pod_out');
      let xdp = '';
      if (role === 'uplink') {
        const outcome = this.#dataplane.attachXdp(link, this.#options.xdp);
        xdp = ` xdp=${outcome.mode} (${outcome.reason})`;
        if (outcome.mode === 'native') this.#xdp.add(link.ifindex);
      }
      this.#attached.set(link.ifindex, role);
      this.#log('info', `attached device=${link.name} role=${role}${xdp}`);
    } catch (error) {
      this.#log('error', `attach to ${link.name}: ${describeError(error)}`);
    }
  }

  #syncNode(): number {
    const endpoints = new Map<Ip, { host: boolean }>();
    for (const addresses of this.#local.values()) for (const [ip, what] of addresses) endpoints.set(ip, what);
    const sources = tunnelSources(this.#store.nodes, this.#options.dsrSources).map((prefix) => ({ prefix, name: 0 }));
    const writes = this.#node.sync({
      uplinks: this.#roles.uplinks,
      pods: this.#roles.pods,
      bridges: this.#roles.bridges,
      xdp: this.#xdp,
      endpoints,
      bindings: bindings(this.#network, this.#roles.pods, endpoints.keys()),
      /* until the source has spoken, the nodes that the kernel knows stay: what comes through tunnels goes on meanwhile */
      sources: this.#sourceSynced ? sources : undefined,
    });
    if (!this.#sourceSynced) this.#writes += writes;
    return writes;
  }

  async #networkChanged(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      this.#network = await readNetwork();
      const roles = deviceRoles(this.#network, this.#options);
      if (roles.uplinks.length > 0) this.#roles = roles;
      this.#guarded(() => {
        this.#attachDevices();
        this.#syncNode();
        this.#refreshSettings();
        if (this.#sourceSynced) this.#flush();
      });
    } catch (error) {
      this.#log('error', describeError(error));
    } finally {
      this.#reading = false;
    }
  }

  #refreshSettings(): void {
    const before = settingsFingerprint(this.#settings);
    this.#settings = settingsOf(this.#options, this.#network, this.#roles, this.#store.nodes);
    if (settingsFingerprint(this.#settings) !== before) this.#store.invalidate();
  }

  async #sweep(): Promise<void> {
    if (this.#sweeping) return;
    this.#sweeping = true;
    try {
      const { ticks, time } = await this.#dataplane.sweep();
      this.#clock = { ticks, ticksTime: time };
    } catch (error) {
      this.#log('error', describeError(error));
    } finally {
      this.#sweeping = false;
    }
  }

  #housekeep(): void {
    if (!this.#sourceSynced) return;
    this.#guarded(() => {
      for (const key of this.#services.drained()) this.#store.touch(key);
      this.#flush();
      this.#syncNode(); // the programs may have learnt where endpoints live, or another hand has been here
    });
  }

  #applySysctls(): void {
    using changed = openTable(this.#options.bpfRoot, MAPS.weir_sysctls);
    for (const { path, before, value } of this.#setSysctlsLater) {
      changed.add({ path }, { before, value });
      writeSysctl(path, value);
      this.#log('info', `set ${path}=${value} was=${before}`);
    }
  }

  #report(problem: Problem): void {
    this.#log('warn', `${problem.object}: ${problem.field}: ${problem.message}`);
  }

  #writeConfig(synced: boolean): void {
    if (synced) this.#generation++;
    const { first, last } = this.#options.snatPorts;
    this.#config.set(0, {
      layout: LAYOUT_HASH,
      pid: process.pid,
      dataplane: 1,
      synced: synced ? 1 : 0,
      generation: this.#generation,
      lastSync: synced ? BigInt(Date.now()) : (this.#config.get(0)?.lastSync ?? 0n),
      netns: BigInt(statSync('/proc/self/ns/net').ino),
      floodRate: FLOOD_RATE,
      snatFirst: first,
      snatCount: last - first + 1,
      ticksPerSecond: ticksPerSecond(),
      fastPath: this.#options.fastPath ? 1 : 0,
      ...this.#clock,
    });
  }
}
