/** The verdict about one path, as JSON and for people. */
import type { DenyAction } from '../core/model.js';
import { type Cluster, evaluate, type Party, type Side, type Target } from '../core/policy/evaluate.js';
import { type NearMiss, nearestRule } from '../core/policy/nearest.js';
import { partyName } from '../core/policy/parties.js';

export interface SideReport {
  readonly allowed: boolean;
  /** The enforced policies that isolate this end; empty: it is not isolated. */
  readonly policies: readonly string[];
  /** The rules that allow it. */
  readonly rules: readonly string[];
  readonly action: DenyAction | null;
  /** Where it is denied: the rule that comes closest, and what it lacks. */
  readonly nearest: NearMiss | null;
  /** Where audited policies select the pod: what they would make of it. */
  readonly audit: Side['audit'] | null;
}

export interface PathReport {
  readonly verdict: 'allowed' | 'denied';
  readonly from: string;
  readonly fromAddress: string | null;
  readonly to: string;
  readonly toAddress: string | null;
  readonly protocol: string;
  readonly port: number;
  /** `itself`, `own node`: no policy is asked. */
  readonly exempt: string | null;
  readonly egress: SideReport;
  readonly ingress: SideReport;
}

export function reportPath(cluster: Cluster, from: Party, to: Party, target: Target): PathReport {
  const verdict = evaluate(cluster, from, to, target);
  return {
    verdict: verdict.allowed ? 'allowed' : 'denied',
    ...{ from: partyName(from), fromAddress: from.ip ?? null, to: partyName(to), toAddress: to.ip ?? null },
    ...{ protocol: target.protocol, port: target.port, exempt: verdict.exempt || null },
    egress: reportSide(cluster, verdict.egress, from, to, target),
    ingress: reportSide(cluster, verdict.ingress, to, from, target),
  };
}

function reportSide(cluster: Cluster, side: Side, subject: Party, peer: Party, target: Target): SideReport {
  const { direction, allowed, policies, rules, action, audit = null } = side;
  return {
    ...{ allowed, policies, rules, audit },
    action: allowed ? null : action,
    nearest: allowed ? null : (nearestRule(cluster, direction, subject, peer, target) ?? null),
  };
}

export function formatPath(path: PathReport): string {
  const end = (name: string, address: string | null): string =>
    address === null || address === name ? name : `${name} (${address})`;
  const way = `${end(path.from, path.fromAddress)} -> ${end(path.to, path.toAddress)}`;
  const lines = [`${path.verdict}: ${way} ${path.protocol.toLowerCase()}/${path.port}`];
  if (path.exempt === 'itself') lines.push('  a pod always reaches itself');
  else if (path.exempt !== null) lines.push('  a pod and its own node always reach each other');
  else {
    lines.push(...formatSide(`egress of ${path.from}`, path.egress));
    lines.push(...formatSide(`ingress of ${path.to}`, path.ingress));
  }
  return `${lines.join('\n')}\n`;
}

function formatSide(what: string, side: SideReport): string[] {
  const lines: string[] = [];
  if (side.policies.length === 0) lines.push(`  ${what}: allowed, no policy isolates it`);
  else if (side.allowed) lines.push(`  ${what}: allowed by ${side.rules.join(', ')}`);
  else {
    lines.push(`  ${what}: denied (${side.action}) by ${side.policies.join(', ')}`);
    if (side.nearest) {
      const { rule, lacks } = side.nearest;
      lines.push(`    nearest rule: ${rule}`, ...lacks.map((lack) => `      ${lack}`));
    } else lines.push('    none of them has a rule that allows anything');
  }
  if (side.audit && !side.audit.allowed)
    lines.push(`    audited policies would deny it: ${side.audit.policies.join(', ')}`);
  return lines;
}
