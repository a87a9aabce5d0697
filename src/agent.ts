/**
 * The agent: the composition root and the only loop. Objects come from a source, are compiled, and the differences go to the
 * kernel; the node's devices are watched and get their programs. All that must outlive the agent is pinned.
 */
import { attempt } from './agent/attempt.js';
import { BpfPlane } from './agent/bpf-plane.js';
import { IpvsPlane } from './agent/ipvs-plane.js';
import type { Log } from './agent/log.js';
import { Observation } from './agent/observation.js';
import type { NodeFacts, Plane } from './agent/plane.js';
import { Reporter } from './agent/reporter.js';
import type { DesiredService, Settings } from './core/desired.js';
import type { Problem, Source } from './core/model.js';
import { deviceRoles, type Network, type Roles } from './core/network.js';
import { chooseDevices, clusterRanges, settingsFingerprint, settingsOf, tunnelSources } from './core/settings.js';
import { PolicyCompiler } from './core/policy/compiler.js';
import type { Target as PolicyTarget } from './core/policy/transition.js';
import { Store } from './core/store.js';
import { describeError } from './errors.js';
import { monitorNetwork } from './host/monitor.js';
import { readNetwork } from './host/network.js';
import type { AgentOptions } from './options.js';

const HOUSEKEEPING_INTERVAL = 1_000;
const NETWORK_DELAY = 30;

const NO_POLICY: PolicyTarget = { classes: new Map(), sets: new Map(), subjects: new Map() };

export class Agent implements Disposable {
  readonly #options: AgentOptions;
  readonly #log: Log;
  readonly #store = new Store();
  readonly #reporter: Reporter;
  readonly #plane: Plane;
  readonly #observation: Observation;
  readonly #compiler: PolicyCompiler;
  #network: Network;
  #roles: Roles;
  #settings: Settings;
  /** Some object or file could not be used before the source had spoken. */
  #broken = false;
  /** The kernel holds what this agent has put there, and nothing from before its start or a failure. */
  #tidy = false;
  /** Entries written before the source had spoken. */
  #early = 0;
  #reading = false;
  #stale = false;
  /** Every service is to be compared, not only those that have changed. */
  #all = true;
  /** What policy comes to has not reached the kernel. */
  #unenforced = false;

  /** Opens the dataplane, which adopts what an earlier agent has left. Throws as that does, and WEIR_DEVICE. */
  constructor(options: AgentOptions, log: Log, network: Network, objectPath: string) {
    this.#options = options;
    this.#log = log;
    this.#network = network;
    this.#roles = chooseDevices(network, options);
    this.#settings = settingsOf(options, network, this.#roles, this.#store.nodes);
    const { nodeName, denyAction } = options;
    this.#compiler = new PolicyCompiler(this.#store.policy, { nodeName, denyAction });
    this.#reporter = new Reporter(log);
    const report = (problem: Problem): void => this.#reporter.report(problem);
    this.#plane =
      options.dataplane === 'ipvs'
        ? new IpvsPlane(options, this.#facts(false), objectPath, log, report)
        : new BpfPlane(options, this.#facts(false), objectPath, log, report);
    this.#observation = new Observation(options, log, this.#reporter, {
      plane: this.#plane,
      services: () => this.#store.size,
      eligible: () => this.#store.nodes.get(options.nodeName)?.eligible ?? true,
    });
    this.#listen();
  }

  /** Runs until the signal; the dataplane stays when it ends. */
  async run(source: Source, signal: AbortSignal): Promise<void> {
    await this.#plane.begin();
    this.#early = this.#follow();
    using _monitor = monitorNetwork(NETWORK_DELAY, () => void this.#networkChanged());
    await using observation = this.#observation;
    observation.begin((problem) => source.publish?.(problem));
    /* the programs may have learnt where endpoints live, or another hand has been at the tables */
    this.#plane.run(() => {
      for (const key of this.#plane.unserved()) this.#store.touch(key);
      this.#guarded(() => this.#follow());
    });
    const housekeeping = setInterval(() => this.#housekeep(), HOUSEKEEPING_INTERVAL);
    try {
      await this.#watch(source);
      await aborted(signal);
    } finally {
      clearInterval(housekeeping);
      await source.stop();
    }
  }

  get #synced(): boolean {
    return this.#observation.progress.synced;
  }

  [Symbol.dispose](): void {
    this.#plane[Symbol.dispose]();
  }

  async #watch(source: Source): Promise<void> {
    await source.start({
      changes: (changes) => {
        this.#store.apply(changes);
        this.#observation.changed(changes);
        if (this.#synced) this.#guarded(() => this.#flush());
      },
      problem: (problem) => {
        if (!this.#synced) this.#broken = true;
        this.#reporter.report(problem);
      },
      info: (message) => this.#log('info', message),
      synced: () => {
        this.#observation.progress.complete();
        this.#guarded(() => this.#firstSync());
      },
    });
  }

  /** Everything that the source had at the start, with the removal of what is no more. */
  #firstSync(): void {
    const started = performance.now();
    const { desired, gone } = this.#take();
    const policy = attempt(() => this.#enforce(true)); // what cannot be enforced keeps no service from being served
    const writes = policy.writes + this.#apply(desired, gone) + this.#follow() + this.#early;
    policy.settle();
    this.#plane.recordSync();
    this.#succeeded(started);
    const took = Math.round(performance.now() - started);
    this.#log('info', `synced services=${this.#store.services().length} entries-changed=${writes} took=${took}ms`);
  }

  /**
   * Services that the kernel has and no object names any more. Not while objects are broken: they may be what is broken, and
   * what worked goes on until the next start.
   */
  #vanished(): string[] {
    const known = new Set(this.#options.runServiceProxy ? this.#store.services() : []);
    const vanished = this.#plane.services().filter((key) => !known.has(key));
    if (!this.#broken || vanished.length === 0) return vanished;
    this.#log('warn', `kept services=${vanished.join()}: no object names them, but some objects are broken`);
    return [];
  }

  /** What has changed since, down to the kernel. */
  #flush(): void {
    const started = performance.now();
    const policy = attempt(() => this.#enforce(false));
    const { desired, gone } = this.#take();
    const writes = policy.writes + (desired.length + gone.length > 0 ? this.#apply(desired, gone) : 0);
    policy.settle();
    this.#succeeded(started);
    if (writes === 0) return;
    this.#plane.recordSync();
    const names = [...(policy.writes > 0 ? ['policy'] : []), ...desired.map((service) => service.key), ...gone];
    const shown = names.slice(0, 3).join(',') + (names.length > 3 ? `,+${names.length - 3}` : '');
    const took = (performance.now() - started).toFixed(1);
    this.#log('info', `applied services=${shown} entries-changed=${writes} took=${took}ms`);
  }

  /** Policy first: what is served anew is judged by what holds now. */
  #enforce(first: boolean): number {
    const { classes, sets, subjects, pods } = this.#compiler.update();
    if (first || this.#unenforced || pods.size > 0) this.#plane.namePods(this.#compiler.state.pods);
    if (!first && !this.#unenforced && classes.size + sets.size + subjects.size === 0) return 0;
    this.#unenforced = true;
    const writes = this.#plane.enforce(this.#options.runFirewall ? this.#compiler.state : NO_POLICY);
    this.#unenforced = false;
    return writes;
  }

  #take(): { desired: DesiredService[]; gone: string[] } {
    if (this.#store.takeNodesChanged()) {
      this.#refreshSettings();
      this.#follow();
    }
    const { desired, gone } = this.#store.take(this.#settings);
    const all = this.#tidy ? gone : [...new Set([...gone, ...this.#vanished()])];
    return { desired: this.#options.runServiceProxy ? desired : [], gone: all };
  }

  #apply(desired: readonly DesiredService[], gone: readonly string[]): number {
    this.#observation.desired(desired, gone);
    return this.#plane.apply(desired, gone);
  }

  #succeeded(started: number): void {
    this.#observation.succeeded(started, this.#all);
    this.#all = false;
    this.#tidy = true;
  }

  /** After a failure the kernel is read again, so that the next attempt starts from what is. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#observation.progress.failed(error);
      this.#tidy = false;
      this.#log('error', describeError(error));
      try {
        this.#plane.recover();
        this.#invalidate();
      } catch (again) {
        this.#log('error', describeError(again));
      }
    }
  }

  /** Tells the dataplane of the node as it is. Returns the number of entries written. */
  #follow(): number {
    return this.#plane.follow(this.#facts(this.#synced));
  }

  #facts(synced: boolean): NodeFacts {
    /* until the source has spoken, the nodes that the kernel knows stay: what comes through tunnels goes on meanwhile */
    const { dsrSources, clusterCidr } = this.#options;
    const nodes = synced ? this.#store.nodes : undefined;
    const sources = nodes && tunnelSources(nodes, dsrSources);
    const cluster = nodes && clusterRanges(nodes, clusterCidr);
    return { network: this.#network, roles: this.#roles, sources, cluster, nodes };
  }

  async #networkChanged(): Promise<void> {
    this.#stale = true;
    if (this.#reading) return;
    this.#reading = true;
    while (this.#stale) {
      this.#stale = false; // what happens while we read is read again
      await this.#readNetwork();
    }
    this.#reading = false;
  }

  async #readNetwork(): Promise<void> {
    try {
      this.#network = await readNetwork();
      const roles = deviceRoles(this.#network, this.#options);
      if (roles.uplinks.length > 0) this.#roles = roles;
      this.#guarded(() => {
        this.#follow();
        this.#refreshSettings();
        if (this.#synced) this.#flush();
      });
    } catch (error) {
      this.#log('error', describeError(error));
    }
  }

  #refreshSettings(): void {
    const before = settingsFingerprint(this.#settings);
    this.#settings = settingsOf(this.#options, this.#network, this.#roles, this.#store.nodes);
    if (settingsFingerprint(this.#settings) !== before) this.#invalidate();
    this.#listen();
  }

  #invalidate(): void {
    this.#store.invalidate();
    this.#all = true;
  }

  /** Health checks are where node ports are; by default everywhere, whatever addresses the node will have. */
  #listen(): void {
    const { nodePortAddresses } = this.#options;
    this.#observation.listen(nodePortAddresses === 'all' ? 'all' : this.#settings.nodePortAddresses);
  }

  #housekeep(): void {
    if (!this.#synced) return;
    const { progress } = this.#observation;
    this.#guarded(() => {
      progress.faults = this.#plane.inspect();
      if (progress.troubled) this.#follow();
      for (const key of this.#plane.drained()) this.#store.touch(key);
      this.#flush();
    });
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
