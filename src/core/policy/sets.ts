/** Policy sets: what the pods that the same policies isolate may do, class by class. */
import type { DenyAction } from '../model.js';
import { type Atom, type NamedPort, PORTLESS } from './atoms.js';
import type { Class, Classes } from './classes.js';
import type { PortTerm, Term } from './rules.js';
import { ANYONE, type ClassName, type Direction, type PolicyEntry, type PolicySet } from './state.js';
import { Tracked } from './tracked.js';

/** What a set is to be made of. */
export interface SetPlan {
  readonly direction: Direction;
  readonly policies: readonly string[];
  readonly action: DenyAction;
  /** The terms of each policy: the same list for as long as the policy is the same. */
  readonly terms: readonly (readonly Term[])[];
  /** The subject's number behind a name. */
  port(named: NamedPort): number | undefined;
}

interface Held {
  readonly terms: readonly (readonly Term[])[];
  readonly flat: readonly Term[];
  readonly atoms: ReadonlySet<Atom>;
  readonly entries: Map<ClassName, readonly PolicyEntry[]>;
}

export class Sets {
  readonly table = new Tracked<string, PolicySet>();
  readonly #held = new Map<string, Held>();

  /** Makes the sets what the plans say, given which classes have come and gone since the last time. */
  update(plans: ReadonlyMap<string, SetPlan>, classes: Classes, born: readonly Class[], dead: readonly Class[]): void {
    for (const name of this.#held.keys()) {
      if (plans.has(name)) continue;
      this.#held.delete(name);
      this.table.set(name, undefined);
    }
    for (const [name, plan] of plans) {
      const before = this.#held.get(name);
      const same = before && sameList(before.terms, plan.terms);
      const held = same ? before : build(plan, classes);
      const changed = same ? adjust(held, plan, born, dead) : !before || !sameEntries(before, held);
      this.#held.set(name, held);
      const { direction, policies, action } = plan;
      if (changed || this.table.view.get(name)?.action !== action)
        this.table.set(name, { direction, policies, action, entries: flattened(held) });
    }
  }
}

function build(plan: SetPlan, classes: Classes): Held {
  const flat = plan.terms.flat();
  const atoms = new Set(flat.flatMap((term) => term.atoms ?? []));
  const held: Held = { terms: plan.terms, flat, atoms, entries: new Map() };
  put(held, ANYONE, entriesOf(flat, plan, undefined));
  const concerned = new Set([...atoms].flatMap((atom) => [...classes.with(atom)]));
  for (const one of concerned) put(held, one.name, entriesOf(flat, plan, one));
  return held;
}

function adjust(held: Held, plan: SetPlan, born: readonly Class[], dead: readonly Class[]): boolean {
  let changed = false;
  for (const one of dead) if (held.entries.delete(one.name)) changed = true;
  for (const one of born) {
    if (![...one.matches.keys()].some((atom) => held.atoms.has(atom))) continue;
    put(held, one.name, entriesOf(held.flat, plan, one));
    changed = true;
  }
  return changed;
}

function put(held: Held, name: ClassName, entries: readonly PolicyEntry[]): void {
  if (entries.length > 0) held.entries.set(name, entries);
}

/** What the terms allow one class; of two rules that allow the same the first is named. No class: what they allow anyone. */
function entriesOf(terms: readonly Term[], plan: SetPlan, one: Class | undefined): PolicyEntry[] {
  const found = new Map<string, PolicyEntry>();
  for (const term of terms) {
    const matched = matchedPort(term, one);
    if (matched === undefined) continue;
    for (const port of portsOf(term, plan, matched)) {
      const key = `${port.protocol} ${port.port} ${port.bits}`;
      if (!found.has(key)) found.set(key, { class: one?.name ?? ANYONE, ...port, rule: term.rule });
    }
  }
  return [...found.values()];
}

/** The number that the term's atoms have for the class, or undefined where none matches it. */
function matchedPort(term: Term, one: Class | undefined): number | undefined {
  if (!term.atoms || !one) return !term.atoms && !one ? PORTLESS : undefined;
  const atom = term.atoms.find((each) => one.matches.has(each));
  return atom && one.matches.get(atom);
}

function portsOf(term: Term, plan: SetPlan, matched: number): readonly PortTerm[] {
  if (term.found) return [{ protocol: term.found, port: matched, bits: 16 }];
  const own = term.own.flatMap((named): PortTerm[] => {
    const port = plan.port(named);
    return port === undefined ? [] : [{ protocol: named.protocol, port, bits: 16 }];
  });
  return own.length > 0 ? [...term.ports, ...own] : term.ports;
}

/** By hand, because this is most of what an update costs and `flat` takes five times as long. */
function flattened({ entries }: Held): PolicyEntry[] {
  const all: PolicyEntry[] = [];
  for (const some of entries.values()) for (const entry of some) all.push(entry);
  return all;
}

function sameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}

function sameEntries(a: Held, b: Held): boolean {
  if (a.entries.size !== b.entries.size) return false;
  for (const [name, entries] of a.entries) {
    const others = b.entries.get(name);
    if (others?.length !== entries.length) return false;
    const same = ({ protocol, port, bits, rule }: PolicyEntry, other: PolicyEntry | undefined): boolean =>
      protocol === other?.protocol && port === other.port && bits === other.bits && rule === other.rule;
    if (!entries.every((entry, i) => same(entry, others[i]))) return false;
  }
  return true;
}
