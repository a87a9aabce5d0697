/** Which policies select the pods of this node, and what their subjects get from them. */
import type { DenyAction, Namespace, NetworkPolicy } from '../model.js';
import type { Alike, Atoms, NamedPort } from './atoms.js';
import { namedPort } from './ports.js';
import { compileRules, releaseTerms, type Term } from './rules.js';
import { matchesSelector } from './selector.js';
import type { SetPlan } from './sets.js';
import { type Direction, DIRECTIONS, type Subject } from './state.js';

interface Compiled {
  readonly policy: NetworkPolicy;
  readonly terms: Readonly<Record<Direction, readonly Term[]>>;
}

export type SubjectSets = Omit<Subject, 'pod'>;

/** The sets of a group by name, and what each is made of. */
export interface GroupSets {
  readonly names: SubjectSets;
  readonly plans: ReadonlyMap<string, SetPlan>;
}

/** Policies by namespace, and the terms of those that select a pod here. */
export class Selection {
  readonly #policies = new Map<string, Map<string, NetworkPolicy>>();
  readonly #active = new Map<string, Compiled>();
  readonly #atoms: Atoms;
  #selecting = new WeakMap<Alike, readonly NetworkPolicy[]>();
  #sets = new WeakMap<Alike, GroupSets>();

  constructor(atoms: Atoms) {
    this.#atoms = atoms;
  }

  put(key: string, policy: NetworkPolicy | undefined): void {
    const [namespace = ''] = key.split('/');
    const policies = this.#policies.get(namespace) ?? new Map<string, NetworkPolicy>();
    this.#policies.set(namespace, policies);
    if (policy) policies.set(key, policy);
    else policies.delete(key);
    this.#selecting = new WeakMap();
    this.forgetSets();
  }

  /** What a namespace says of its deny action may have changed. */
  forgetSets(): void {
    this.#sets = new WeakMap();
  }

  /** Compiles what selects one of these groups of pods, and lets go of what selects none. */
  activate(groups: Iterable<Alike>): void {
    const needed = new Map<string, NetworkPolicy>();
    for (const group of groups) for (const policy of this.selecting(group)) needed.set(keyOf(policy), policy);
    const former: Compiled[] = [];
    const before = this.#active.size;
    for (const [key, compiled] of this.#active) {
      if (needed.get(key) === compiled.policy) continue;
      former.push(compiled);
      this.#active.delete(key);
    }
    for (const [key, policy] of needed) {
      if (this.#active.has(key)) continue;
      const [ingress, egress] = DIRECTIONS.map((direction) => compileRules(policy, direction, this.#atoms));
      this.#active.set(key, { policy, terms: { ingress: ingress ?? [], egress: egress ?? [] } });
    }
    for (const { terms } of former) for (const direction of DIRECTIONS) releaseTerms(terms[direction], this.#atoms);
    if (former.length > 0 || this.#active.size > before) this.forgetSets();
  }

  /** The policies that select these pods, in the order of their names. */
  selecting(group: Alike): readonly NetworkPolicy[] {
    const known = this.#selecting.get(group);
    if (known) return known;
    const policies = [...(this.#policies.get(group.namespace)?.values() ?? [])]
      .filter((policy) => matchesSelector(policy.podSelector, group.labels))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    this.#selecting.set(group, policies);
    return policies;
  }

  /** The sets of these pods, once their policies are active. */
  sets(group: Alike, namespace: Namespace | undefined, fallback: DenyAction): GroupSets {
    const known = this.#sets.get(group);
    if (known) return known;
    const plans = new Map<string, SetPlan>();
    const name = (direction: Direction, policies: readonly NetworkPolicy[]): string => {
      const plan = this.#plan(group, direction, policies, denyAction(policies, namespace?.denyAction ?? fallback));
      const text = setName(plan);
      plans.set(text, plan);
      return text;
    };
    const names: { -readonly [K in keyof SubjectSets]: SubjectSets[K] } = {};
    for (const direction of DIRECTIONS) {
      const isolating = this.selecting(group).filter((policy) => policy[direction]);
      const enforced = isolating.filter((policy) => policy.mode === 'enforce');
      if (enforced.length > 0) names[direction] = name(direction, enforced);
      if (enforced.length < isolating.length)
        names[direction === 'ingress' ? 'auditIngress' : 'auditEgress'] = name(direction, isolating);
    }
    const sets = { names, plans };
    this.#sets.set(group, sets);
    return sets;
  }

  #plan({ ports }: Alike, direction: Direction, policies: readonly NetworkPolicy[], action: DenyAction): SetPlan {
    const keys = policies.map(keyOf);
    return {
      ...{ direction, policies: keys, action },
      terms: keys.map((key) => this.#active.get(key)?.terms[direction] ?? []),
      port: ({ name, protocol }) => namedPort(ports, name, protocol),
    };
  }
}

/** An explicit drop beats an explicit reject; the default stands in only where no policy says anything. */
export function denyAction(policies: readonly NetworkPolicy[], fallback: DenyAction): DenyAction {
  if (policies.some((policy) => policy.denyAction === 'drop')) return 'drop';
  return policies.some((policy) => policy.denyAction === 'reject') ? 'reject' : fallback;
}

function keyOf({ namespace, name }: NetworkPolicy): string {
  return `${namespace}/${name}`;
}

/** `ingress shop/a,shop/b http/TCP=8080`: the policies and what the names in their rules are on the subject. */
function setName(plan: SetPlan): string {
  const own = plan.terms.flatMap((terms) => terms.flatMap((term) => term.own));
  const resolved = own.flatMap((named: NamedPort) => {
    const port = plan.port(named);
    return port === undefined ? [] : `${named.name}/${named.protocol}=${port}`;
  });
  return [plan.direction, plan.policies.join(','), ...[...new Set(resolved)].sort()].join(' ');
}
