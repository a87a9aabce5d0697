/** From what the table `weir-policy` holds to what it should, as one transaction of nft -f. Pure. */
import { plan, type Row, type Rows } from '../core/plan.js';
import type { ChainDigests } from './chains.js';
import type { Members } from './policy-program.js';
import { isProgramChain, type PolicyRows } from './policy-rows.js';
import { TABLE } from './policy-table.js';
import { keyToken } from './prefixes.js';

/** What is there. A chain of a policy has a name that tells what it should hold. */
export interface PolicyHeld {
  readonly chains: ChainDigests;
  readonly members: Members;
  readonly rows: Rows;
}

export interface PolicyChange {
  readonly text: string;
  /** Elements and chains that change. */
  readonly size: number;
  /** Chains among them. */
  readonly chains: number;
}

/**
 * New chains and sets stand before what leads to them, and go after it. A chain that is not as it was `made`, as the kernel
 * listed it then, is filled anew.
 */
export function policyChange(have: PolicyHeld, want: PolicyRows, made: ChainDigests): PolicyChange {
  const isAsMade = (name: string): boolean => have.chains.has(name) && have.chains.get(name) === made.get(name);
  const fresh = [...want.chains].filter(([name]) => !isAsMade(name));
  const known = fresh.filter(([name]) => have.chains.has(name));
  const gone = [...have.chains.keys()].filter((name) => isProgramChain(name) && !want.chains.has(name));
  const freshSets = [...want.members.keys()].filter((name) => !have.members.has(name));
  const goneSets = [...have.members.keys()].filter((name) => !want.members.has(name));
  const writes = plan(have.rows, want.rows, {});
  const peers = memberChanges(have.members, want.members);
  const stale = writes.flatMap((write) => (write.op === 'delete' ? [write.row] : (write.before ?? [])));
  const put = writes.flatMap((write) => (write.op === 'put' ? [write.row] : []));
  const lines = [
    ...fresh.map(([name]) => `add chain ${TABLE} ${name}`),
    ...known.map(([name]) => `flush chain ${TABLE} ${name}`),
    ...freshSets.map(declaration),
    ...fresh.flatMap(([name, rules]) => rules.map((rule) => `add rule ${TABLE} ${name} ${rule}`)),
    ...peers.lines,
    ...elements('delete', stale),
    ...elements('add', put),
    ...gone.map((name) => `flush chain ${TABLE} ${name}`),
    ...gone.map((name) => `delete chain ${TABLE} ${name}`),
    ...goneSets.map((name) => `delete set ${TABLE} ${name}`),
  ];
  return {
    text: lines.map((line) => `${line}\n`).join(''),
    size: fresh.length + gone.length + writes.length + peers.size,
    chains: fresh.length + gone.length,
  };
}

function declaration(name: string): string {
  const type = /^[a-z]+4/.test(name) ? 'ipv4_addr' : 'ipv6_addr';
  return `add set ${TABLE} ${name} { type ${type}; ${isWide(name) ? 'flags interval; ' : ''}}`;
}

function isWide(set: string): boolean {
  return set.startsWith('blocks');
}

/** A set that is the same object is not looked at. Ranges are written as a whole: a new one may overlap one that goes. */
function memberChanges(have: Members, want: Members): { readonly lines: string[]; readonly size: number } {
  const lines: string[] = [];
  let size = 0;
  for (const [table, members] of want) {
    const known = have.get(table);
    if (known === members) continue;
    const fresh = known ? [...members].filter((member) => !known.has(member)) : [...members];
    const stale = known ? [...known].filter((member) => !members.has(member)) : [];
    size += fresh.length + stale.length;
    if (fresh.length + stale.length === 0) continue;
    if (isWide(table)) lines.push(`flush set ${TABLE} ${table}`, elementLine('add', table, [...members]));
    else {
      if (stale.length > 0) lines.push(elementLine('delete', table, stale));
      if (fresh.length > 0) lines.push(elementLine('add', table, fresh));
    }
  }
  return { lines, size };
}

/** Commands for rows, one a set. */
export function elements(verb: 'add' | 'delete', rows: readonly Row[], place = TABLE): string[] {
  const bySet = new Map<string, string[]>();
  for (const { table, key, value } of rows) {
    const more = value.startsWith('comment') ? ` ${value}` : ` : ${value}`;
    const element = keyToken(table, key) + (verb === 'delete' || value === '' ? '' : more);
    const list = bySet.get(table);
    if (list) list.push(element);
    else bySet.set(table, [element]);
  }
  return [...bySet].map(([set, list]) => elementLine(verb, set, list, place));
}

function elementLine(verb: 'add' | 'delete', set: string, list: readonly string[], place = TABLE): string {
  return `${verb} element ${place} ${set} { ${list.join(', ')} }`;
}

/** Rows of which an agent decides; records and the like are not. */
export function isOwnRow({ table }: Row): boolean {
  return /^(self|known|bound|behind|(audit_)?(in|e)gress)[46]$|^(inside|routed|ports|settled)$/.test(table);
}
