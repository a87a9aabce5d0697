/** What the agent's loop asks of a dataplane: the same of each, whatever forwards the packets. */
import type { DesiredService } from '../core/desired.js';
import type { Node } from '../core/model.js';
import type { Network, Roles } from '../core/network.js';
import type { Ip, Prefix } from '../core/net.js';
import type { Exposition } from '../metrics/server.js';
import type { Measures } from '../metrics/weir.js';
import type { Target as PolicyTarget } from '../core/policy/transition.js';

/** The node as it is now. */
export interface NodeFacts {
  readonly network: Network;
  readonly roles: Roles;
  /** From where tunnelled packets are accepted; undefined until the source has spoken: what was known before stays. */
  readonly sources: readonly Prefix[] | undefined;
  /** By name; undefined likewise. */
  readonly nodes: ReadonlyMap<string, Node> | undefined;
  /** Sources that count as the cluster's own; likewise. */
  readonly cluster: readonly Prefix[] | undefined;
}

export interface Plane extends Disposable {
  /** As --dataplane calls it. */
  readonly name: 'bpf' | 'ipvs';
  /** ms since 1970 of the last change that reached the kernel, 0: none has. */
  readonly lastSync: number;

  /** What must happen once before the first packet: expiry of what is stale. */
  begin(): Promise<void>;
  /**
   * Goes on with what the dataplane does by itself (expiry) until disposed; before each turn `before` is called, so that the
   * agent looks after what another hand may have changed.
   */
  run(before: () => void): void;
  /** Puts the dataplane onto the node's devices and tells it of the node. Returns the number of entries written. */
  follow(facts: NodeFacts): number;

  /** The services that the kernel holds something of, as `namespace/name`. */
  services(): string[];
  /** Brings these services to the kernel and removes those that are gone. Returns the number of entries written. */
  apply(desired: readonly DesiredService[], gone: readonly string[]): number;
  /** Enforces what policy comes to on this node. Returns the number of entries written. */
  enforce(policy: PolicyTarget): number;
  /** Writes down whose the addresses of the cluster's pods are, as `ns/name`, for who reads the tables. */
  namePods(pods: ReadonlyMap<Ip, string>): void;
  /** Services with a backend whose grace has ended: to be applied again. */
  drained(): string[];
  /** Services that did not fit: to be tried again. */
  unserved(): Iterable<string>;
  /** Reads the kernel again: what it holds is the truth after anything has gone wrong. */
  recover(): void;
  /**
   * Looks whether what was put into the kernel is still there, some of it each time, and returns what is missing. The next
   * `follow` puts programs back.
   */
  inspect(): readonly string[];
  /** What it tells of itself at a scrape: a few reads, however much it serves. */
  measure(): Measures;
  /** Metrics with a line for each service or backend, read piece by piece while they are sent. */
  readonly expositions: readonly Exposition[];
  /** Writes down, for the reading commands, that a change is complete in the kernel. */
  recordSync(): void;
}
