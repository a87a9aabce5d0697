/**
 * From the policy that a dataplane has to the one that it should have, write by write, so that each packet meets the old or the
 * new one and never a mixture. No number changes its meaning while something names it:
 *   1. every rule is written: of the new sets for all classes; for the new numbers of classes what they mean under either
 *   2. addresses go to their new class, the most specific prefix first: old sets say of it what they said of the former one
 *   3. each endpoint goes to its new sets at once
 *   4. admitted flows are judged again, and what nothing names any more is removed
 * An address whose class and whose peer's set change together has, in between, a number for the pair of its old and new class.
 */
import type { Ip } from '../net.js';
import { type Bundle, bundlesOf, maskOf } from './bundle.js';
import { ANYONE_ID, type EndpointSets, type Installed, type InstalledSet, NODE_ID, type Step } from './installed.js';
import { type ClassPlan, planClasses } from './class-plan.js';
import { ANYONE, type ClassName, type PolicySet, type PolicyState, type Subject } from './state.js';

/** What the numbers of the last transition stand for: they are kept where that is possible. Empty after a restart. */
export interface Memory {
  readonly classes: Map<ClassName, number>;
  readonly sets: Map<string, number>;
}

/** Numbers that nothing uses, nor has lately. */
export interface Numbers {
  class(): number;
  set(): number;
}

export interface Transition {
  /** Up to the moment at which endpoints change. */
  readonly before: readonly Step[];
  readonly endpoints: readonly (Step & { do: 'endpoint' })[];
  /** Once endpoints have changed and admitted flows are judged again. */
  readonly after: readonly Step[];
  readonly memory: Memory;
}

export type Target = Pick<PolicyState, 'classes' | 'sets' | 'subjects'>;

/** `own`: prefixes of this node's own addresses. */
export function transition(
  from: Installed,
  to: Target,
  own: ReadonlySet<string>,
  memory: Memory,
  numbers: Numbers,
): Transition {
  const classes = planClasses(from, to.classes, own, memory.classes, numbers);
  const sets = matchSets(from, to, classes, memory.sets, numbers);
  const endpoints = endpointSteps(from, to.subjects, sets.ids);
  /* who comes from another set must not meet what the kept one still says of classes that go */
  const moves = endpoints.some(({ ip, sets: next }) => next !== undefined && from.endpoints.has(ip));
  classes.settle(sets.replaced, sets.fresh.size > 0 || moves);
  const before = [...ruleSteps(from, to, classes, sets), ...setSteps(from, to, classes, sets), ...classes.flips()];
  const after = [...classes.merges(), ...removals(from, to, classes, sets)];
  return { before, endpoints, after, memory: { classes: classes.homes(), sets: sets.ids } };
}

interface SetMatch {
  /** Number of each set that some subject has. */
  readonly ids: Map<string, number>;
  readonly fresh: ReadonlySet<number>;
  /** Sets that endpoints have and will not keep. */
  readonly replaced: readonly InstalledSet[];
}

function matchSets(
  from: Installed,
  to: Target,
  classes: ClassPlan,
  memory: ReadonlyMap<string, number>,
  numbers: Numbers,
): SetMatch {
  const candidates = new Map<string, Set<number>>();
  for (const [ip, subject] of to.subjects) {
    const had = from.endpoints.get(ip);
    for (const slot of SLOTS) {
      const name = subject[slot];
      if (name === undefined) continue;
      const ids = candidates.get(name) ?? new Set();
      if (ids.size === 0 && memory.has(name)) ids.add(memory.get(name)!);
      if (had) ids.add(had[slot]);
      candidates.set(name, ids);
    }
  }
  const isLeft = leavers(from, to.subjects);
  const ids = new Map<string, number>();
  const fresh = new Set<number>();
  const taken = new Set<number>();
  for (const [name, known] of candidates) {
    const set = wanted(to, name);
    const kept = [...known].find((id) => {
      const had = from.sets.get(id);
      if (!had || taken.has(id) || !says(had, set, classes)) return false;
      return !isLeft(id, name) || means(had, set, classes);
    });
    const id = kept ?? numbers.set();
    if (kept === undefined) fresh.add(id);
    taken.add(id);
    ids.set(name, id);
  }
  const used = new Set([...from.endpoints.values()].flatMap((endpoint) => SLOTS.map((slot) => endpoint[slot])));
  const replaced = [...used].flatMap((id) => (taken.has(id) ? [] : (from.sets.get(id) ?? [])));
  return { ids, fresh, replaced };
}

const SLOTS = ['ingress', 'egress', 'auditIngress', 'auditEgress'] as const;

function wanted(to: Target, name: string): PolicySet {
  const set = to.sets.get(name);
  if (!set) throw new TypeError(`a subject names the set ${name}, which does not exist`);
  return set;
}

function labelOf({ policies, direction }: PolicySet): string {
  return `Policies ${policies.join()} ${direction}`;
}

/** Tells whether some endpoint has the set of a number now and will have another than the named one. */
function leavers(from: Installed, subjects: Target['subjects']): (id: number, name: string) => boolean {
  const next = new Map<number, Set<string | undefined>>();
  for (const [ip, had] of from.endpoints) {
    for (const slot of SLOTS) {
      const names = next.get(had[slot]) ?? new Set();
      next.set(had[slot], names.add(subjects.get(ip)?.[slot]));
    }
  }
  return (id, name) => [...(next.get(id) ?? [])].some((other) => other !== name);
}

/** Whoever leaves the set must not notice, before that, what becomes of it: then it means the same all the while. */
function means(had: InstalledSet, set: PolicySet, classes: ClassPlan): boolean {
  const bundles = bundlesOf(set);
  return classes.unmoved(
    (id) => (id === ANYONE_ID ? '' : textOf(had.rules.get(id))),
    (name) => textOf(bundles.get(name)),
  );
}

/** Does an installed set say of every class that keeps its number what it should? */
function says(had: InstalledSet, set: PolicySet, classes: ClassPlan): boolean {
  if (had.label !== labelOf(set) || had.action !== set.action) return false;
  const bundles = bundlesOf(set);
  if (textOf(had.rules.get(ANYONE_ID)) !== textOf(bundles.get(ANYONE))) return false;
  for (const [id, rules] of had.rules) {
    const name = classes.nameOfHome(id);
    if (name !== undefined && rules.text !== textOf(bundles.get(name))) return false;
  }
  for (const [name, rules] of bundles) {
    const home = classes.home(name);
    if (home !== undefined && rules.text !== textOf(had.rules.get(home))) return false;
  }
  return true;
}

function textOf(rules: Bundle | undefined): string {
  return rules?.text ?? '';
}

/** Old sets learn what the new numbers of classes stand for, kept and new sets what they may do. */
function* ruleSteps(from: Installed, to: Target, classes: ClassPlan, sets: SetMatch): Generator<Step> {
  const allow = (set: number, id: number, rules: Bundle | undefined): Step[] =>
    rules && rules.rules.length > 0 ? [{ do: 'allow', set, class: id, rules: rules.rules }] : [];
  for (const [id, had] of from.sets) {
    if (!sets.replaced.includes(had)) continue;
    for (const [fresh, former] of classes.carriers())
      if (former > NODE_ID) yield* allow(id, fresh, had.rules.get(former));
  }
  for (const [name, id] of sets.ids) {
    const isFresh = sets.fresh.has(id);
    for (const [peer, rules] of bundlesOf(wanted(to, name))) {
      if (peer === ANYONE) {
        if (isFresh) yield* allow(id, ANYONE_ID, rules);
      } else {
        for (const number of isFresh ? classes.numbers(peer) : classes.freshNumbers(peer))
          yield* allow(id, number, rules);
      }
    }
  }
}

/** What a set's entry is to hold in the end. */
function entryOf(set: PolicySet, classes: ClassPlan): Omit<InstalledSet, 'rules'> {
  const bundles = [...bundlesOf(set)];
  const alive = bundles.flatMap(([name, rules]) => (name !== ANYONE && classes.final(name) !== undefined ? rules : []));
  const anyone = bundles.flatMap(([name, rules]) => (name === ANYONE ? rules : []));
  return { label: labelOf(set), action: set.action, classed: maskOf(alive), anyone: maskOf(anyone) };
}

/** What a lookup tries is widened before there is something to find. */
function* setSteps(from: Installed, to: Target, classes: ClassPlan, sets: SetMatch): Generator<Step> {
  for (const [name, id] of sets.ids) {
    const value = entryOf(wanted(to, name), classes);
    const had = from.sets.get(id);
    const classed = value.classed | (had?.classed ?? 0);
    if (had?.classed !== classed) yield { do: 'set', set: id, value: { ...value, classed } };
  }
}

function endpointSteps(
  from: Installed,
  subjects: ReadonlyMap<Ip, Subject>,
  ids: ReadonlyMap<string, number>,
): (Step & { do: 'endpoint' })[] {
  const steps: (Step & { do: 'endpoint' })[] = [];
  for (const [ip, subject] of subjects) {
    const number = (slot: (typeof SLOTS)[number]): number => ids.get(subject[slot] ?? '') ?? 0;
    const sets: EndpointSets = {
      pod: subject.pod,
      ingress: number('ingress'),
      egress: number('egress'),
      auditIngress: number('auditIngress'),
      auditEgress: number('auditEgress'),
    };
    if (!sameSets(from.endpoints.get(ip), sets)) steps.push({ do: 'endpoint', ip, sets });
  }
  for (const ip of from.endpoints.keys()) if (!subjects.has(ip)) steps.push({ do: 'endpoint', ip, sets: undefined });
  return steps;
}

function sameSets(a: EndpointSets | undefined, b: EndpointSets): boolean {
  return a !== undefined && a.pod === b.pod && SLOTS.every((slot) => a[slot] === b[slot]);
}

function* removals(from: Installed, to: Target, classes: ClassPlan, sets: SetMatch): Generator<Step> {
  const alive = classes.alive();
  const kept = new Map([...sets.ids].map(([name, id]) => [id, name]));
  const written = new Map<number, Map<number, Bundle>>();
  for (const [id, had] of from.sets) written.set(id, new Map(had.rules));
  for (const step of ruleSteps(from, to, classes, sets)) {
    if (step.do !== 'allow') continue;
    const rules = written.get(step.set) ?? new Map<number, Bundle>();
    rules.set(step.class, { rules: step.rules, text: '' });
    written.set(step.set, rules);
  }
  for (const [id, bundles] of written) {
    const dead = [...bundles].filter(([number]) => !kept.has(id) || (number !== ANYONE_ID && !alive.has(number)));
    for (const [number, { rules }] of dead) yield { do: 'forbid', set: id, class: number, rules };
    if (!kept.has(id)) yield { do: 'unset', set: id };
  }
  for (const [id, name] of kept) {
    const value = entryOf(wanted(to, name), classes);
    const had = from.sets.get(id);
    if (had && (had.classed | value.classed) !== value.classed) yield { do: 'set', set: id, value };
  }
}
