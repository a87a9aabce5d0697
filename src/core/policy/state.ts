/** What policy comes to on one node: the border between the compiler and every dataplane. */
import type { DenyAction } from '../model.js';
import type { Ip, Protocol } from '../net.js';
import type { Delta } from './tracked.js';

export type Direction = 'ingress' | 'egress';
export const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];

/** Canonical signature of an address: the peer selectors and address blocks that match it. */
export type ClassName = string;
/** The class of an entry that allows every address; never a row of `classes`. */
export const ANYONE: ClassName = '';
/** The class of addresses that nothing matches, within a range that something does: an `except`. */
export const UNMATCHED: ClassName = '-';

/** Allows a class of peers at the ports whose first `bits` bits (0 to 16) are those of `port`. */
export interface PolicyEntry {
  readonly class: ClassName;
  readonly protocol: Protocol | 'any';
  readonly port: number;
  readonly bits: number;
  /** `NetworkPolicy ns/name ingress[0]` */
  readonly rule: string;
}

/** What the pods that the same policies isolate may do. Entries differ in class, protocol, port or bits; no order is meant. */
export interface PolicySet {
  readonly direction: Direction;
  /** The isolating policies as `ns/name`, sorted. */
  readonly policies: readonly string[];
  readonly action: DenyAction;
  readonly entries: readonly PolicyEntry[];
}

/** A pod of this node. The names of its sets; an absent one: not isolated. */
export interface Subject {
  /** `ns/name` */
  readonly pod: string;
  /** Sets of the enforced policies alone. */
  readonly ingress?: string;
  readonly egress?: string;
  /** Sets of all policies, where audited ones select the pod: what these deny and those allow is reported. */
  readonly auditIngress?: string;
  readonly auditEgress?: string;
}

export interface PolicyState {
  /**
   * By prefix `address/bits`; the longest prefix counts, an address without any has no class but ANYONE. The rows are right for
   * one table in which IPv4 stands at ::ffff:0:0/96, too: where `::/0` is matched, `0.0.0.0/0` has a row of its own.
   */
  readonly classes: ReadonlyMap<string, ClassName>;
  readonly sets: ReadonlyMap<string, PolicySet>;
  /** Every address of every pod of this node that has a network of its own and is not finished, isolated or not. */
  readonly subjects: ReadonlyMap<Ip, Subject>;
  /** Every such pod of the cluster, as `ns/name`. */
  readonly pods: ReadonlyMap<Ip, string>;
}

/** What an update has changed in each table of the state. */
export interface PolicyDelta {
  readonly classes: Delta<string, ClassName>;
  readonly sets: Delta<string, PolicySet>;
  readonly subjects: Delta<Ip, Subject>;
  readonly pods: Delta<Ip, string>;
}

export interface PolicyOptions {
  readonly nodeName: string;
  /** Where neither policies nor their namespace say otherwise. */
  readonly denyAction: DenyAction;
}
