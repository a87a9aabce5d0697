/** Policy in the BPF dataplane: the tables, the epoch by which admitted flows are judged again, the settings of the programs. */
import type { Ip } from '../core/net.js';
import { type Network, ownAddresses } from '../core/network.js';
import type { Target } from '../core/policy/transition.js';
import { ticksPerSecond } from '../loader/clock.js';
import type { KernelTables } from '../maps/kernel-tables.js';
import { type Config, POLICY_FLAG } from '../maps/layout.js';
import type { NodeEndpoint } from '../maps/node.js';
import { PolicyTables } from '../maps/policy.js';
import type { Table } from '../maps/table.js';
import type { AgentOptions } from '../options.js';

type Options = Pick<AgentOptions, 'runFirewall' | 'defaultDenyUnknown' | 'keepEstablished' | 'takeoverGrace'>;

export class PolicyEnforcer {
  readonly #tables: KernelTables;
  readonly #config: Table<number, Config>;
  readonly #options: Options;
  readonly #syncEndpoints: () => number;
  #policy: PolicyTables;
  #target: Target | undefined;
  #own: readonly Ip[] = [];
  #epoch: number;
  #graceUntil: bigint;

  /** Adopts what is pinned. */
  constructor(tables: KernelTables, config: Table<number, Config>, options: Options, syncEndpoints: () => number) {
    this.#tables = tables;
    this.#config = config;
    this.#options = options;
    this.#syncEndpoints = syncEndpoints;
    this.#policy = this.#adopt();
    const before = config.get(0);
    this.#epoch = before?.policyEpoch || 1;
    this.#graceUntil = before?.graceUntil ?? 0n;
  }

  /** The grace begins with the first agent, not with each. */
  begin(ticks: bigint): void {
    if (this.#graceUntil !== 0n || ticks === 0n) return;
    this.#graceUntil = ticks + BigInt(Math.round((this.#options.takeoverGrace * ticksPerSecond()) / 1000));
  }

  /** What the programs need to know besides the tables. */
  settings(): Pick<Config, 'policyEpoch' | 'policyFlags' | 'graceUntil'> {
    const { runFirewall, defaultDenyUnknown, keepEstablished } = this.#options;
    const policyFlags =
      (runFirewall && defaultDenyUnknown ? POLICY_FLAG.DENY_UNKNOWN : 0) |
      (keepEstablished ? POLICY_FLAG.KEEP_ESTABLISHED : 0);
    return { policyEpoch: this.#epoch, policyFlags, graceUntil: this.#graceUntil };
  }

  /** The endpoints of services and the pods that policy knows. */
  endpoints(served: ReadonlyMap<Ip, NodeEndpoint>): Map<Ip, NodeEndpoint> {
    const all = new Map(served);
    for (const [ip, policy] of this.#policy.endpoints()) all.set(ip, { host: served.get(ip)?.host ?? false, policy });
    return all;
  }

  /** This node's own addresses are exempt. Returns the number of entries written. */
  follow(network: Network): number {
    const own = ownAddresses(network);
    if (own.join() === this.#own.join()) return 0;
    this.#own = own;
    return this.#target ? this.enforce(this.#target) : 0;
  }

  /** Returns the number of entries written. */
  enforce(target: Target): number {
    this.#target = target;
    return this.#policy.sync(target, this.#own, {
      syncEndpoints: this.#syncEndpoints,
      nextEpoch: () => this.#nextEpoch(),
    });
  }

  /** Reads the kernel again. */
  recover(): void {
    this.#policy = this.#adopt();
  }

  #adopt(): PolicyTables {
    return new PolicyTables(this.#tables, () => Math.round(performance.now()));
  }

  #nextEpoch(): void {
    this.#epoch = (this.#epoch + 1) >>> 0 || 1;
    const config = this.#config.get(0);
    if (config) this.#config.set(0, { ...config, policyEpoch: this.#epoch });
  }
}
