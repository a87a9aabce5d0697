/** The IPVS dataplane as the agent's loop sees it: virtual servers, one table of nftables, a device with the addresses. */
import { release } from 'node:os';
import type { DesiredService } from '../core/desired.js';
import type { Problem } from '../core/model.js';
import type { Ip } from '../core/net.js';
import { rowKey } from '../core/plan.js';
import { FOREIGN_FAULT, foreignChanges, summaryOf } from '../ipvs/foreign.js';
import { commands } from '../ipvs/ipvsadm-text.js';
import { readVirtualServers, runCommands } from '../ipvs/ipvsadm.js';
import { type Kernel, readKernel } from '../ipvs/kernel.js';
import type { NodeView, WantedServer } from '../ipvs/placement.js';
import { TABLE } from '../ipvs/ruleset.js';
import {
  chainsIn,
  ensureStateDirectory,
  type IpvsState,
  networkNamespace,
  readState,
  writeState,
} from '../ipvs/state-file.js';
import { neededSettings } from '../ipvs/sysctls.js';
import { refusedServers, unavailable, unboundProblems } from '../ipvs/unavailable.js';
import { matchText } from '../ipvs/virtual.js';
import { lostRows, type NodeAddresses, serviceAddresses, viewOf, wanted } from '../ipvs/wanted.js';
import type { PolicyTarget } from '../ipvs/policy-rows.js';
import { describeError } from '../errors.js';
import type { Measures } from '../metrics/weir.js';
import type { AgentOptions } from '../options.js';
import { AfterBpf } from './after-bpf.js';
import { syncDevices } from './ipvs-devices.js';
import { Draining } from './ipvs-draining.js';
import { linksOf, NodeInputs } from './ipvs-node.js';
import { countedReasons } from './ipvs-reasons.js';
import { HeldSettings } from './ipvs-settings.js';
import { PlacedServices } from './ipvs-services.js';
import { ServiceTable } from './ipvs-table.js';
import { IpvsWatch, type Part } from './ipvs-watch.js';
import type { Log } from './log.js';
import { Troubles } from './ipvs-troubles.js';
import { NftFirewall } from './nft-firewall.js';
import type { NodeFacts, Plane } from './plane.js';
import { PodNamesFile } from './pod-names-file.js';

/** ms between looks at all that the kernel has, whether anything has changed or not. */
const INTERVAL = 30_000;

export class IpvsPlane implements Plane {
  readonly name = 'ipvs';
  readonly expositions = [];
  readonly #directory: string;
  readonly #services: PlacedServices;
  readonly #proxy: boolean;
  readonly #table: ServiceTable;
  readonly #firewall: NftFirewall;
  readonly #settings: HeldSettings;
  #sysctls: IpvsState['sysctls'];
  readonly #inputs = new NodeInputs();
  readonly #draining: Draining;
  #facts: NodeFacts;
  #nodes: NodeAddresses;
  #kernel: Kernel;
  #generation: number;
  #lastSync: number;
  #synced = false;
  readonly #bpf: AfterBpf;
  #timer: NodeJS.Timeout | undefined;
  /** What is wanted is to be compared with what is there. */
  #stale = true;
  readonly #watch = new IpvsWatch();
  readonly #podNames: PodNamesFile;
  readonly #log: Log;
  readonly #troubles: Troubles;

  /** Reads what is there and adopts it. Throws WEIR_TOOL, WEIR_KERNEL_MODULE. */
  constructor(
    options: AgentOptions,
    facts: NodeFacts,
    objectPath: string,
    log: Log,
    report: (problem: Problem) => void,
  ) {
    this.#log = log;
    this.#settings = new HeldSettings(log);
    this.#troubles = new Troubles(report, log);
    this.#directory = ensureStateDirectory(options.bpfRoot);
    this.#podNames = new PodNamesFile(this.#directory, (error) => log('warn', describeError(error)));
    const state = readState(this.#directory);
    this.#facts = facts;
    this.#nodes = state?.nodes ?? {};
    this.#draining = new Draining(options.drainTimeout, state?.deadlines ?? {});
    this.#generation = state?.generation ?? 0;
    this.#lastSync = state?.lastSync ?? 0;
    this.#proxy = options.runServiceProxy;
    this.#kernel = readKernel(this.#proxy);
    this.#table = new ServiceTable(options, chainsIn(state, TABLE));
    this.#firewall = new NftFirewall(options, state, this.#settings, log);
    this.#bpf = new AfterBpf(options, objectPath, state?.takeoverUntil ?? 0, log, () => this.#write());
    const settings = this.#proxy ? neededSettings(release()) : [];
    this.#sysctls = { ...this.#settings.apply(settings), ...this.#bpf.inherited, ...state?.sysctls };
    this.#services = new PlacedServices(state, this.#kernel, (taken) => this.#view(taken));
    this.#inputs.follow(facts, this.#view(), this.#nodes);
    this.#write();
  }

  get lastSync(): number {
    return this.#lastSync;
  }

  async begin(): Promise<void> {
    /* expiry is the kernel's */
  }

  run(before: () => void): void {
    this.#timer = setInterval(() => {
      this.#watch.touch();
      this.#stale = true;
      before();
    }, INTERVAL);
  }

  follow(facts: NodeFacts): number {
    if (linksOf(facts) !== linksOf(this.#facts)) this.#watch.touch(['services']);
    this.#facts = facts;
    if (facts.nodes) {
      const addresses = [...facts.nodes.values()].map((node) => [node.name, node.internalIps] as const);
      this.#nodes = Object.fromEntries(addresses);
    }
    const changed = this.#inputs.follow(facts, this.#view(), this.#nodes);
    if (changed.placement) this.#services.placeAll();
    if (changed.placement || changed.rows) this.#stale = true;
    const opened = this.#firewall.openBridges(facts);
    if (Object.keys(opened).length > 0) this.#sysctls = { ...opened, ...this.#sysctls };
    /* neighbours come and go all the time, and change nothing here */
    const served = this.#stale ? this.#sync() : 0; // first: what keeps policy from being enforced concerns no service
    return served + this.#firewall.follow(facts);
  }

  enforce(policy: PolicyTarget): number {
    return this.#firewall.enforce(policy, this.#facts);
  }

  namePods(pods: ReadonlyMap<Ip, string>): void {
    this.#podNames.follow(pods);
  }

  services(): string[] {
    return [...this.#services.desired.keys()];
  }

  apply(desired: readonly DesiredService[], gone: readonly string[]): number {
    this.#services.apply(desired, gone);
    this.#write(); // first, so that the next agent knows what is ours however far this one gets
    return this.#sync();
  }

  drained(): string[] {
    const over = this.#draining.over();
    const ends = ({ match }: WantedServer): boolean => over.some((name) => name.startsWith(`${matchText(match)} `));
    return [...this.#services.placed].filter(([, { servers }]) => servers.some(ends)).map(([key]) => key);
  }

  unserved(): Iterable<string> {
    return [];
  }

  recover(): void {
    this.#kernel = readKernel(this.#proxy);
    this.#firewall.recover();
    this.#stale = true;
  }

  /** Looks where anything has happened. The next `follow` undoes what another hand has done. */
  inspect(): readonly string[] {
    const parts = this.#watch.changed();
    const lost = this.#settings.restore();
    if (parts.size === 0 && lost.length === 0) return [];
    const changes = [...lost, ...this.#look(parts)];
    const faults = this.#firewall.faults();
    if (changes.length === 0) return faults;
    this.#log('warn', `another program has changed what is Weir's: put back: ${summaryOf(changes)}`);
    this.#watch.touch();
    this.#stale = true;
    return [FOREIGN_FAULT, ...faults];
  }

  /** What is forwarded IPVS counts by itself: ipvsadm -Ln --stats. */
  measure(): Measures {
    return { reasons: countedReasons(), maps: [], devices: [], generation: this.#generation };
  }

  recordSync(): void {
    this.#generation++;
    this.#lastSync = Date.now();
    this.#synced = true;
    this.#bpf.begin();
    this.#write();
  }

  [Symbol.dispose](): void {
    this.#bpf[Symbol.dispose]();
    this.#podNames[Symbol.dispose]();
    clearInterval(this.#timer);
    this.#watch[Symbol.dispose]();
  }

  /**
   * Brings the kernel to what is placed. Masquerading and refusals come before the virtual servers whose packets they concern, these
   * come before the marks and addresses that lead to them, and go after these: no packet meets half a service.
   */
  #sync(): number {
    if (!this.#proxy && this.#kernel.version === '') return 0;
    const have = this.#services.learn(this.#kernel);
    const { placed, desired, taken, marks } = this.#services;
    const known = [...this.#kernel.rows.values()];
    const { rows, ...want } = wanted(placed.values(), this.#facts.roles, this.#facts, known);
    const servers = this.#draining.servers(have, want.servers, marks);
    for (const row of lostRows(want.servers, servers)) rows.set(rowKey(row), row);
    const { puts, removals } = commands(have, servers);
    const { uplinks } = this.#facts.roles;
    const prepared = this.#table.prepare(this.#kernel, rows, uplinks);
    const complaint = runCommands(puts);
    /* what the kernel does not take keeps nothing else from being served */
    const refused = refusedServers(placed, complaint, readVirtualServers);
    for (const row of refused.rows) rows.set(rowKey(row), row);
    const table = this.#table.sync(prepared.kernel, rows, uplinks);
    const devices = syncDevices(table.kernel, rows, uplinks);
    const isAsWanted = [complaint, runCommands(removals)].every((text) => text === '');
    this.#stale = false;
    const others = [...this.#kernel.servers].filter(([key]) => !have.has(key));
    this.#kernel = { ...devices.kernel, servers: isAsWanted ? new Map([...others, ...servers]) : readVirtualServers() };
    this.#services.claim(servers);
    this.#troubles.judge([
      ...unavailable(desired.values(), taken),
      ...refused.problems,
      ...unboundProblems(serviceAddresses(rows), devices.kernel.addresses, devices.complaint),
    ]);
    return prepared.writes + puts.length + table.writes + devices.writes + removals.length;
  }

  /** What is not as we left it. */
  #look(parts: ReadonlySet<Part>): string[] {
    const changes: string[] = [];
    try {
      if (parts.has('services')) {
        const known = this.#kernel;
        this.#kernel = readKernel(this.#proxy);
        changes.push(...foreignChanges(known, this.#kernel));
      }
      if (parts.has('policies')) changes.push(...this.#firewall.recover());
      return changes;
    } catch (error) {
      this.#watch.touch(); // to be read again, and to be told until it can be
      throw error;
    }
  }

  #view(taken: ReadonlySet<Ip> = new Set()): NodeView {
    return viewOf(this.#facts.network, this.#facts.roles.uplinks, this.#nodes, taken);
  }

  #write(): void {
    const { desired, taken } = this.#services;
    const made = [[TABLE, this.#table.made] as const, ...this.#firewall.made];
    writeState(this.#directory, {
      ...{ pid: process.pid, synced: this.#synced, generation: this.#generation, lastSync: this.#lastSync },
      ...{ services: [...desired.values()], taken: [...taken], nodes: this.#nodes, sysctls: this.#sysctls },
      deadlines: this.#draining.deadlines,
      chains: Object.fromEntries(made.map(([table, chains]) => [table, Object.fromEntries(chains)])),
      netns: networkNamespace(),
      takeoverUntil: this.#bpf.until,
    });
  }
}
