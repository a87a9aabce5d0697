/** What isolates a pod and what is allowed nevertheless, whatever tables tell it. */
import type { DenyAction } from '../core/model.js';
import type { Ip } from '../core/net.js';
import { byRule, type ClassRule, portsOf } from '../core/policy/closest.js';
import { ANYONE_ID } from '../core/policy/installed.js';

/** What isolates a pod in one direction. */
export interface IsolationRow {
  /** `ns/name`, sorted. */
  readonly policies: readonly string[];
  readonly action: DenyAction;
  readonly rules: readonly RuleRow[];
}

export interface RuleRow {
  /** `ns/name ingress[0]` */
  readonly rule: string;
  /** Whether it is for everybody, or for the peers that it names. */
  readonly anyone: boolean;
  /** `tcp/80, tcp/8000-8010`, `everything` */
  readonly ports: string;
}

export const SLOTS = ['ingress', 'egress', 'auditIngress', 'auditEgress'] as const;
export type Slot = (typeof SLOTS)[number];

/** A pod of this node at one of its addresses; null: not isolated there. */
export interface IsolatedPod extends Readonly<Record<Slot, IsolationRow | null>> {
  /** `ns/name` */
  readonly pod: string;
  readonly address: Ip;
}

/** Something for each slot. */
export function bySlot<V>(value: (slot: Slot) => V): Record<Slot, V> {
  return {
    ingress: value('ingress'),
    egress: value('egress'),
    auditIngress: value('auditIngress'),
    auditEgress: value('auditEgress'),
  };
}

/** By the name of the rule. */
export function ruleRows(rules: readonly ClassRule[]): RuleRow[] {
  const rows = [...byRule(rules)].map(([rule, entries]) => ({
    rule,
    anyone: entries.some((entry) => entry.class === ANYONE_ID),
    ports: portsOf(entries),
  }));
  return rows.sort((a, b) => (a.rule < b.rule ? -1 : 1));
}
