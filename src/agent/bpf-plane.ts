/** The BPF dataplane as the agent's loop sees it: programs on devices, tables that follow, expiry. */
import { statSync } from 'node:fs';
import type { DesiredService } from '../core/desired.js';
import type { Problem } from '../core/model.js';
import type { Ip } from '../core/net.js';
import { bindings } from '../core/network.js';
import { checkCgroup } from '../loader/cgroup.js';
import type { Target as PolicyTarget } from '../core/policy/transition.js';
import { readState, stateDirectory } from '../ipvs/state-file.js';
import { ticksNow, ticksPerSecond } from '../loader/clock.js';
import { type Dataplane, openDataplane } from '../loader/dataplane.js';
import { netnsCookie } from '../loader/devices.js';
import { refuseOtherLayout } from '../maps/compatible.js';
import { KernelTables } from '../maps/kernel-tables.js';
import { readReasons } from '../maps/counters.js';
import { type Config, type Counter, LAYOUT_HASH, MAPS, STAGE } from '../maps/layout.js';
import { serviceConfig } from '../maps/service-config.js';
import type { NodeState } from '../maps/node.js';
import { PodNames } from '../maps/pod-names.js';
import { openTable, type Table } from '../maps/table.js';
import type { Measures } from '../metrics/weir.js';
import type { AgentOptions } from '../options.js';
import { Applier } from './applier.js';
import { Attachments } from './attachments.js';
import { capacityOf, hasIpvs } from './installed.js';
import { LeavingIpvs } from './leaving-ipvs.js';
import { PolicyEnforcer } from './policy-enforcer.js';
import type { Log } from './log.js';
import { PinCheck } from './pin-check.js';
import type { NodeFacts, Plane } from './plane.js';
import { Sockets } from './sockets.js';
import { Sweeper } from './sweeper.js';
import { applySysctls, inheritSysctls } from './sysctls.js';
import { Takeover } from './takeover.js';

/** New flows a second on one core above which those that a hash carries are not recorded. */
const FLOOD_RATE = 125_000;
/** Ticks that never come: until it is known when a takeover ends. */
const NEVER = (1n << 64n) - 1n;

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
  /** IPVS was there before and is not gone yet. */
  #takeover: Takeover | undefined;
  #stageUntil = 0n;
  /** The tables were of the time before IPVS when this agent began. */
  readonly #wasLeaving: boolean;
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
    this.#wasLeaving = before?.stage === STAGE.LEAVING;
    if (hasIpvs(bpfRoot)) {
      inheritSysctls(bpfRoot, readState(stateDirectory(bpfRoot))?.sysctls ?? {});
      this.#takeover = new Takeover(new LeavingIpvs(bpfRoot), log, () => this.#endTakeover());
      this.#stageUntil = before?.stage === STAGE.JOINING ? before.stageUntil : NEVER;
    }
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
    if (this.#takeover && !this.#takeover.begun) this.#beginTakeover(this.#takeover);
    this.#writeConfig(true);
  }

  [Symbol.dispose](): void {
    this.#takeover?.[Symbol.dispose]();
    this.#sweeper[Symbol.dispose]();
    this.#sockets[Symbol.dispose]();
    this.#config[Symbol.dispose]();
    this.#counters[Symbol.dispose]();
    this.#podNames[Symbol.dispose]();
    this.#tables[Symbol.dispose]();
    this.#dataplane[Symbol.dispose]();
  }

  /** Where an agent before this one has begun it, the time runs on. */
  #beginTakeover(takeover: Takeover): void {
    const { drainTimeout, takeoverGrace } = this.#options;
    const longest = Math.max(drainTimeout, takeoverGrace);
    const now = ticksNow(this.#sweeper.clock);
    const perMs = ticksPerSecond() / 1000;
    if (this.#stageUntil === NEVER) this.#stageUntil = now + BigInt(Math.ceil(longest * perMs));
    const latest = Date.now() + Number(this.#stageUntil - now) / perMs;
    takeover.begin({ earliest: latest - longest + takeoverGrace, latest });
  }

  #endTakeover(): void {
    this.#takeover = undefined;
    this.#writeConfig(true);
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

  /** Until old tables are brought up to date, IPVS has what is new. */
  #stage(): number {
    if (!this.#takeover) return STAGE.ALONE;
    return this.#wasLeaving && !this.#takeover.begun ? STAGE.LEAVING : STAGE.JOINING;
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
      stage: this.#stage(),
      stageUntil: this.#takeover ? this.#stageUntil : 0n,
      ...(this.#sweeper.clock.ticks > 0n ? this.#sweeper.clock : { ticks, ticksTime }),
      ...serviceConfig(this.#options),
    });
  }
}
