/**
 * Chains of our tables of nftables: those that never change as text for nft -f, and all of them as the kernel lists them. The
 * name of an empty set says which version of the former a table has; digests, whether another hand has been at any. Pure.
 */
import { createHash } from 'node:crypto';

/** Rules of a base chain follow the line that says where it is hooked. */
export type Chains = readonly (readonly [name: string, lines: readonly string[]])[];

/** Name of the empty set. */
export function versionOf(declarations: readonly string[], chains: Chains): string {
  return `version_${digest(JSON.stringify([declarations, chains]))}`;
}

/** The table with these sets, maps and chains, in place of what there is of it. */
export function tableText(table: string, declarations: readonly string[], chains: Chains): string {
  const version = `set ${versionOf(declarations, chains)} { type mark; }`;
  const bodies = chains.map(([name, lines]) => `chain ${name} {\n    ${lines.join('\n    ')}\n  }`);
  const body = [version, ...declarations, ...bodies].map((line) => `  ${line}\n`).join('');
  /* add first: there may be none to delete */
  return `add table ${table}\ndelete table ${table}\ntable ${table} {\n${body}}\n`;
}

/** By chain: how many rules it has, and a digest of them and of its hook. */
export type ChainDigests = ReadonlyMap<string, string>;

/** What nft -j tells of chains. */
export interface ListedChains {
  readonly table?: { readonly flags?: readonly string[] };
  readonly chain?: { readonly name: string; readonly handle?: number };
  readonly rule?: { readonly chain: string; readonly expr?: readonly unknown[]; readonly comment?: string };
}

export function chainDigests(listed: readonly ListedChains[]): Map<string, string> {
  const flags = listed.find(({ table }) => table)?.table?.flags; // no chain of a dormant table is asked
  const hooks = listed.flatMap(({ chain }) => chain ?? []).map(({ handle: _, ...chain }) => ({ ...chain, flags }));
  const rules = new Map(hooks.map(({ name }): [string, unknown[]] => [name, []]));
  for (const { rule } of listed) if (rule) rules.get(rule.chain)?.push([rule.expr, rule.comment]);
  return new Map(
    hooks.map((hook) => {
      const held = rules.get(hook.name) ?? [];
      return [hook.name, `${held.length} rules, ${digest(JSON.stringify([hook, held], countless))}`];
    }),
  );
}

/** Chains that are not the same. */
export function changedChains(known: ChainDigests, now: ChainDigests): string[] {
  return [...new Set([...known.keys(), ...now.keys()])].filter((name) => known.get(name) !== now.get(name));
}

/** Packets count, and change no rule. */
function countless(key: string, value: unknown): unknown {
  return key === 'counter' ? null : value;
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
