/** What another hand has changed of a table of policies, in words for the log. Pure. */
import { plan, type Rows } from '../core/plan.js';
import { changedChains } from './chains.js';
import type { PolicyKernel } from './policy-kernel.js';

type Known = Pick<PolicyKernel, 'version' | 'rows' | 'chains'> & Partial<Pick<PolicyKernel, 'members'>>;

/** One entry for each change from `known`, what we left, to `now`; what `known` does not tell of is not looked at. */
export function foreignPolicy(known: Known, now: PolicyKernel, table: string): string[] {
  if (now.version !== known.version) return [`table ${table}: removed or replaced`];
  const chains = changedChains(known.chains, now.chains).map((name) => `chain ${name}`);
  const peers = [...(known.members ?? [])].flatMap(([set, members]) => {
    const found = now.members.get(set);
    return found && isSame(members, found) ? [] : [`set ${set}`];
  });
  return [...chains, ...peers, ...rowChanges(known.rows, now.rows)].map((text) => `table ${table}: ${text}`);
}

function isSame(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((member) => b.has(member));
}

function rowChanges(known: Rows, now: Rows): string[] {
  return plan(known, now, {}).map(({ op, row }) => `${op === 'put' ? '+' : '-'}${row.table} ${row.key}`);
}
