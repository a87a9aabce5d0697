/** What another hand has changed of a table of policies, in words for the log. Pure. */
import { plan, type Rows } from '../core/plan.js';
import type { PolicyKernel } from './policy-kernel.js';

type Known = Pick<PolicyKernel, 'version' | 'rows'> & Partial<Pick<PolicyKernel, 'fixed' | 'chains' | 'members'>>;

/** One entry for each change from `known`, what we left, to `now`; what `known` does not tell of is not looked at. */
export function foreignPolicy(known: Known, now: PolicyKernel, table: string): string[] {
  if (now.version !== known.version) return [`table ${table}: removed or replaced`];
  const rules = (['fixed', 'chains'] as const).flatMap((part) => countChanges(known[part], now[part]));
  const peers = [...(known.members ?? [])].flatMap(([set, members]) => {
    const found = now.members.get(set);
    return found && isSame(members, found) ? [] : [`set ${set}`];
  });
  return [...rules, ...peers, ...rowChanges(known.rows, now.rows)].map((text) => `table ${table}: ${text}`);
}

function countChanges(known: ReadonlyMap<string, number> | undefined, now: ReadonlyMap<string, number>): string[] {
  if (!known || known === now) return [];
  const names = [...new Set([...known.keys(), ...now.keys()])];
  return names.filter((name) => known.get(name) !== now.get(name)).map((name) => `chain ${name}`);
}

function isSame(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((member) => b.has(member));
}

function rowChanges(known: Rows, now: Rows): string[] {
  return plan(known, now, {}).map(({ op, row }) => `${op === 'put' ? '+' : '-'}${row.table} ${row.key}`);
}
