/** The policy tables as they are pinned, told in names instead of numbers. */
import { type Ip, type Protocol, protocolName } from '../core/net.js';
import type { ClassRule } from '../core/policy/closest.js';
import { ANYONE_ID } from '../core/policy/installed.js';
import { decodePolicyKey, MAPS, POLICY_SET_FLAG } from '../maps/layout.js';
import { openTable } from '../maps/table.js';
import { bySlot, type IsolatedPod, type IsolationRow, ruleRows, SLOTS } from './isolation.js';

/** `Policies ns/a,ns/b ingress`; a list longer than a name can be lacks its end. */
export function policiesIn(label: string): string[] {
  return /^Policies (\S+)/.exec(label)?.[1]?.split(',') ?? [];
}

/** Of the pod that has the address now, without `Pod `; '' where its name is lost. */
export function podName(label: string): string {
  return label.replace(/^Pod /, '');
}

/** Closes with its tables, which it opens once: rules are many. */
export class PolicyReader implements Disposable {
  readonly #sets;
  readonly #names;
  readonly #rules;
  readonly #classes;

  constructor(root: string) {
    this.#sets = openTable(root, MAPS.weir_policysets);
    this.#names = openTable(root, MAPS.weir_names);
    this.#rules = openTable(root, MAPS.weir_policy);
    this.#classes = openTable(root, MAPS.weir_classes);
  }

  /** The class of peers that an address is in. */
  classOf(address: Ip): number {
    return this.#classes.get({ bits: 128, address }) ?? ANYONE_ID;
  }

  /** '' where the number stands for nothing any more. */
  name(id: number): string {
    return id === 0 ? '' : (this.#names.get(id)?.text ?? '');
  }

  /** Number of the name of a set, 0 where there is no such set. */
  label(set: number): number {
    return set === 0 ? 0 : (this.#sets.get(set)?.name ?? 0);
  }

  /** The rules of some sets, in one walk over those of all. */
  rules(sets: ReadonlySet<number>): Map<number, ClassRule[]> {
    const found = new Map<number, ClassRule[]>();
    if (sets.size === 0) return found;
    const names = new Map<number, string>();
    for (const { key, value } of this.#rules.rawEntries()) {
      if (!sets.has(key.readUInt32LE(0))) continue;
      const { set, class: peers, protocol, port, bits } = decodePolicyKey(key);
      const id = value.readUInt32LE(0);
      const rule = names.get(id) ?? this.name(id);
      names.set(id, rule);
      const spoken = protocol === 0 ? 'any' : (protocolName(protocol) as Protocol);
      const list = found.get(set) ?? [];
      list.push({ class: peers, protocol: spoken, port, bits, rule });
      found.set(set, list);
    }
    return found;
  }

  /** What a set says, with its rules as `rules` gives them; null: nothing isolates. */
  isolation(set: number, rules: readonly ClassRule[] = []): IsolationRow | null {
    if (set === 0) return null;
    const held = this.#sets.get(set);
    return {
      policies: policiesIn(this.name(held?.name ?? 0)),
      action: ((held?.flags ?? 0) & POLICY_SET_FLAG.REJECT) !== 0 ? 'reject' : 'drop',
      rules: ruleRows(rules),
    };
  }

  [Symbol.dispose](): void {
    for (const table of [this.#sets, this.#names, this.#rules, this.#classes]) table[Symbol.dispose]();
  }
}

/** A pod with the index of its device, 0: none is known yet. */
export interface MappedPod extends IsolatedPod {
  readonly ifindex: number;
}

/** Every pod of this node at each of its addresses; what services alone serve is no pod that policy knows. */
export function readPods(root: string): MappedPod[] {
  using table = openTable(root, MAPS.weir_endpoints);
  using policy = new PolicyReader(root);
  const pods = [...table.entries()].filter(([, { pod }]) => pod !== 0);
  const rules = policy.rules(new Set(pods.flatMap(([, endpoint]) => SLOTS.map((slot) => endpoint[slot]))));
  return pods.map(([address, endpoint]) => ({
    ...{ pod: podName(policy.name(endpoint.pod)), address, ifindex: endpoint.ifindex },
    ...bySlot((slot) => policy.isolation(endpoint[slot], rules.get(endpoint[slot]))),
  }));
}
