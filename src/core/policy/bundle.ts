/** What a set allows one class of peers: rules that are compared, written and removed together. */
import type { Protocol } from '../net.js';
import type { ClassName, PolicySet } from './state.js';

/** A rule without its class. */
export interface PortRule {
  readonly protocol: Protocol | 'any';
  readonly port: number;
  readonly bits: number;
  readonly rule: string;
}

export interface Bundle {
  readonly rules: readonly PortRule[];
  /** The same for the same rules, whatever their order. */
  readonly text: string;
}

const NOTHING: Bundle = { rules: [], text: '' };

export function bundle(rules: readonly PortRule[]): Bundle {
  if (rules.length === 0) return NOTHING;
  const lines = rules.map(({ protocol, port, bits, rule }) => `${protocol} ${port}/${bits} ${rule}`);
  return { rules, text: lines.sort().join('\n') };
}

/** By class. Sets do not change, so this is worked out once for each. */
export function bundlesOf(set: PolicySet): ReadonlyMap<ClassName, Bundle> {
  const known = cache.get(set);
  if (known) return known;
  const rules = new Map<ClassName, PortRule[]>();
  for (const { class: name, ...rule } of set.entries) {
    const list = rules.get(name);
    if (list) list.push(rule);
    else rules.set(name, [rule]);
  }
  const made = new Map([...rules].map(([name, list]) => [name, bundle(list)]));
  cache.set(set, made);
  return made;
}
const cache = new WeakMap<PolicySet, ReadonlyMap<ClassName, Bundle>>();

/** Which lengths of port prefixes a lookup has to try: bit n for n leading bits, bit 17 for rules of any protocol. */
export function maskOf(bundles: Iterable<Bundle>): number {
  let mask = 0;
  for (const { rules } of bundles)
    for (const { protocol, bits } of rules) mask |= 1 << (protocol === 'any' ? 17 : bits);
  return mask;
}
