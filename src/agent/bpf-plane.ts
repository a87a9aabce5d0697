/** The BPF dataplane as the agent's loop sees it: programs on devices, tables that follow, expiry. */
import { statSync } from 'node:fs';
import type { DesiredService } from '../core/desired.js';
import type { Problem } from '../core/model.js';
import type { Ip } from '../core/net.js';
import { bindings } from '../core/network.js';
import { checkCgroup } from '../loader/cgroup.js';
import type { Target as PolicyTarget } from '../core/policy/transition.js';
import { ticksPerSecond } from '../loader/clock.js';
import { type Dataplane, openDataplane } from '../loader/dataplane.js';
import { netnsCookie } from '../loader/devices.js';
import { refuseOtherLayout } from '../maps/compatible.js';
import { KernelTables } from '../maps/kernel-tables.js';
import { readReasons } from '../maps/counters.js';
import { type Config, type Counter, LAYOUT_HASH, MAPS } from '../maps/layout.js';
import { serviceConfig } from '../maps/service-config.js';
import type { NodeState } from '../maps/node.js';
import { PodNames } from '../maps/pod-names.js';
import { openTable, type Table } from '../maps/table.js';
import type { Measures } from '../metrics/weir.js';
import type { AgentOptions } from '../options.js';
import { AfterIpvs } from './after-ipvs.js';
import { Applier } from './applier.js';
import { Attachments } from './attachments.js';
import { capacityOf } from './installed.js';
import { PolicyEnforcer } from './policy-enforcer.js';
import type { Log } from './log.js';
import { PinCheck } from './pin-check.js';
import type { NodeFacts, Plane } from './plane.js';
import { Sockets } from './sockets.js';
import { Sweeper } from './sweeper.js';
import { applySysctls } from './sysctls.js';

/** New flows a second on one core above which those that a hash carries are not recorded. */
const FLOOD_RATE = 125_000;

export class BpfPlane implements Plane {
  readonly name = 'bpf';
  readonly expositions = [];
  readonly #options: AgentOptions;
  readonly #dataplane: Dataplane;
  readonly #tables: KernelTables;
  readonly #config: Table<number, Config>;
  readonly #applier: Applier;
  readonly #policy: PolicyEnforcer;
  readonly #podNames: PodNames;
  readonly #attachments: Attachments;
  readonly #sweeper: Sweeper;
  readonly #sockets: Sockets;
  readonly #counters: Table<number, Counter>;
  readonly #pins: PinCheck;
  /** Entries of all tables that the sweeper walks. */
  readonly #flowCapacity: number;
  #facts: NodeFacts;
  #generation: bigint;
  readonly #ipvs: AfterIpvs;
  /** Services whose flows go to the backend with the fewest. */
  readonly #leastConnections = new Set<string>();

  /** Loads the programs and adopts what is pinned; attaches nothing. Throws as openDataplane does. */
  constructor(
    options: AgentOptions,
    facts: NodeFacts,
    objectPath: string,
    log: Log,
    report: (problem: Problem) => void,
  ) {
    this.#options = options;
    this.#facts = facts;
    const { bpfRoot, flowEntries, cgroup } = options;
    if (cgroup !== undefined) checkCgroup(cgroup);
    refuseOtherLayout(bpfRoot);
    this.#dataplane = openDataplane({
      ...{ objectPath, bpfRoot, sockets: cgroup !== undefined },
      ...(flowEntries ? { flowEntries } : {}),
    });
    this.#tables = new KernelTables(bpfRoot);
    this.#config = openTable(bpfRoot, MAPS.weir_config);
    this.#counters = openTable(bpfRoot, MAPS.weir_counters);
    this.#flowCapacity =
      capacityOf(bpfRoot, MAPS.weir_flows4) +
      capacityOf(bpfRoot, MAPS.weir_flows6) +
      capacityOf(bpfRoot, MAPS.weir_snat);
    this.#pins = new PinCheck(bpfRoot);
    this.#sweeper = new Sweeper(this.#dataplane, log);
    this.#sockets = new Sockets(this.#dataplane, cgroup, log);
    this.#attachments = new Attachments(this.#dataplane, options.xdp, log);
    this.#applier = new Applier(
      this.#tables,
      (endpoints) => this.#describeNode(endpoints),
      report,
      options.drainTimeout,
    );
    this.#policy = new PolicyEnforcer(this.#tables, this.#config, options, () => this.#applier.syncNode());
    this.#podNames = new PodNames(bpfRoot);
    const before = this.#config.get(0);
    this.#generation = before?.generation ?? 0n;
    this.#ipvs = new AfterIpvs(options, before, log, () => this.#writeConfig(true));
    this.#writeConfig(false);
    applySysctls(bpfRoot, log);
  }

  get lastSync(): number {
    return Number(this.#config.get(0)?.lastSync ?? 0n);
  }

  async begin(): Promise<void> {
    await this.#sweeper.sweep();
    this.#policy.begin(this.#sweeper.clock.ticks);
    this.#writeConfig(false);
    this.#sockets.attach();
  }

  run(before: () => void): void {
    this.#sweeper.start(before, () => this.#leastConnections.size > 0);
  }

  follow(facts: NodeFacts): number {
    this.#facts = facts;
    this.#attachments.follow(facts.network, facts.roles);
    const moved = this.#policy.follow(facts.network);
    return moved + this.#applier.syncNode();
  }

  services(): string[] {
    return this.#applier.services();
  }

  apply(desired: readonly DesiredService[], gone: readonly string[]): number {
    for (const key of gone) this.#leastConnections.delete(key);
    for (const { key, ports } of desired) {
      const compares = ports.some(({ frontends }) => frontends.some(({ scheduler }) => scheduler === 'lc'));
      if (compares) this.#leastConnections.add(key);
      else this.#leastConnections.delete(key);
    }
    const { writes, backendsChanged } = this.#applier.apply(desired, gone);
    if (backendsChanged) {
      this.#sweeper.ask();
      this.#sockets.endStale();
    }
    return writes;
  }

  enforce(policy: PolicyTarget): number {
    return this.#policy.enforce(policy);
  }

  namePods(pods: ReadonlyMap<Ip, string>): void {
    this.#podNames.follow(pods);
  }

  drained(): string[] {
    return this.#applier.drained();
  }

  unserved(): Iterable<string> {
    return this.#applier.unserved();
  }

  recover(): void {
    this.#policy.recover();
    this.#podNames.recover();
    this.#applier.recover();
  }

  inspect(): readonly string[] {
    return [...this.#attachments.inspect(), ...this.#sockets.inspect(), ...this.#pins.faults()];
  }

  measure(): Measures {
    return {
      reasons: readReasons(this.#counters),
      maps: [...this.#tables.fullness(), { map: 'flows', entries: this.#sweeper.kept, capacity: this.#flowCapacity }],
      devices: this.#attachments.counts(),
      generation: Number(this.#generation),
    };
  }

  recordSync(): void {
    this.#ipvs.begin(this.#sweeper.clock);
    this.#writeConfig(true);
  }

  [Symbol.dispose](): void {
    this.#ipvs[Symbol.dispose]();
    this.#sweeper[Symbol.dispose]();
    this.#sockets[Symbol.dispose]();
    this.#config[Symbol.dispose]();
    this.#counters[Symbol.dispose]();
    this.#podNames[Symbol.dispose]();
    this.#tables[Symbol.dispose]();
    this.#dataplane[Symbol.dispose]();
  }

  #describeNode(served: NodeState['endpoints']): NodeState {
    const endpoints = this.#policy.endpoints(served);
    const { network, roles, sources, cluster } = this.#facts;
    const { uplinks, pods, bridges } = roles;
    return {
      ...{ uplinks, pods, bridges, endpoints },
      xdp: this.#attachments.xdp,
      bindings: bindings(network, pods, endpoints.keys() as Iterable<Ip>),
      sources: sources?.map((prefix) => ({ prefix, name: 0 })),
      cluster,
    };
  }

  #writeConfig(synced: boolean): void {
    if (synced) this.#generation++;
    const { first, last } = this.#options.snatPorts;
    const { ticks, ticksTime, lastSync } = this.#config.get(0) ?? { ticks: 0n, ticksTime: 0n, lastSync: 0n };
    this.#config.set(0, {
      layout: LAYOUT_HASH,
      pid: process.pid,
      dataplane: 1,
      synced: synced ? 1 : 0,
      generation: this.#generation,
      lastSync: synced ? BigInt(Date.now()) : lastSync,
      netns: BigInt(statSync('/proc/self/ns/net').ino),
      floodRate: FLOOD_RATE,
      snatFirst: first,
      snatCount: last - first + 1,
      ticksPerSecond: ticksPerSecond(),
      netnsCookie: netnsCookie(),
      fastPath: this.#options.fastPath ? 1 : 0,
      ...this.#policy.settings(),
      ...this.#ipvs.stage,
      ...(this.#sweeper.clock.ticks > 0n ? this.#sweeper.clock : { ticks, ticksTime }),
      ...serviceConfig(this.#options),
    });
  }
}
