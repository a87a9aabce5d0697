/** Which number each class of addresses has before, during and after a transition (transition.ts). */
import { type Installed, type InstalledSet, NODE_ID, type Step } from './installed.js';
import { bitsOf, Enclosing } from './prefixes.js';
import type { ClassName } from './state.js';

/** Addresses that have no class, and this node's own. Compiled classes have other names. */
const NONE = '\0none';
const NODE = '\0node';

/** Prefixes whose addresses go from one number to one class. */
interface Pair {
  readonly from: number;
  readonly to: ClassName;
  readonly prefixes: string[];
  /** Number until everything has changed. */
  during: number;
}

export interface ClassPlan {
  /** The number that a class keeps, undefined where it gets a new one. */
  home(name: ClassName): number | undefined;
  nameOfHome(id: number): ClassName | undefined;
  /** Whether addresses that change their class mean the same to a set before (by number) and afterwards (by name). */
  unmoved(before: (id: number) => string, after: (name: ClassName) => string): boolean;
  /** Chooses the numbers of the others, given the sets that change. */
  settle(replaced: readonly InstalledSet[], setsChange: boolean): void;
  /** All numbers under which new sets meet a class, and those of them that no set knows yet. */
  numbers(name: ClassName): readonly number[];
  freshNumbers(name: ClassName): readonly number[];
  /** Of each new number the one whose meaning old sets give it. */
  carriers(): ReadonlyMap<number, number>;
  flips(): Step[];
  merges(): Step[];
  /** The number of a class in the end, undefined where no address has it. */
  final(name: ClassName): number | undefined;
  alive(): ReadonlySet<number>;
  homes(): Map<ClassName, number>;
}

export function planClasses(
  from: Installed,
  classes: ReadonlyMap<string, ClassName>,
  own: ReadonlySet<string>,
  memory: ReadonlyMap<ClassName, number>,
  numbers: { class(): number },
): ClassPlan {
  const target = own.size === 0 ? classes : new Map([...classes, ...[...own].map((prefix) => [prefix, NODE] as const)]);
  const pairs = pairUp(from.classes, target);
  const homes = chooseHomes(pairs, memory);
  const names = new Map([...homes].map(([name, id]) => [id, name]));
  const finals = new Map(homes);
  finals.set(NODE, NODE_ID);
  const carriers = new Map<number, number>();
  const several = new Map<ClassName, number[]>();
  const aliveNames = new Set(target.values());
  let setsChange = false;
  const fresh = (pair: Pair): number => {
    const id = numbers.class();
    carriers.set(id, pair.from);
    several.set(pair.to, [...(several.get(pair.to) ?? []), id]);
    return id;
  };
  return {
    home: (name) => homes.get(name),
    nameOfHome: (id) => names.get(id),
    unmoved: (before, after) =>
      pairs.every(({ from: id, to }) => id === NODE_ID || to === NODE || before(id) === (to === NONE ? '' : after(to))),
    settle(replaced, change) {
      setsChange = change;
      const meaning = (id: number): string =>
        id <= NODE_ID ? '' : replaced.map((set) => set.rules.get(id)?.text ?? '').join('\0');
      for (const pair of pairs) {
        const final = finals.get(pair.to);
        if (pair.from === NODE_ID) {
          /* exempt until everything has changed: no set has rules for it */
          if (final === undefined && pair.to !== NONE) finals.set(pair.to, fresh(pair));
        } else if (final === undefined) {
          if (pair.to === NONE && !change) continue; // its prefixes go when the rest has changed
          pair.during = fresh(pair);
          finals.set(pair.to, pair.during);
        } else if (
          final === pair.from ||
          final === NODE_ID ||
          meaning(carriers.get(final) ?? final) === meaning(pair.from)
        ) {
          pair.during = final;
        } else {
          pair.during = fresh(pair);
        }
      }
    },
    numbers: (name) => {
      const home = homes.get(name);
      return [...(home === undefined ? [] : [home]), ...(several.get(name) ?? [])];
    },
    freshNumbers: (name) => several.get(name) ?? [],
    carriers: () => carriers,
    flips() {
      const steps = pairs.flatMap((pair) =>
        pair.prefixes.flatMap((prefix) => {
          if (!target.has(prefix) && !setsChange) return [];
          return from.classes.get(prefix) === pair.during ? [] : [{ do: 'class' as const, prefix, class: pair.during }];
        }),
      );
      return steps.sort((a, b) => bitsOf(b.prefix) - bitsOf(a.prefix));
    },
    merges() {
      const merged = pairs.flatMap((pair) => {
        const id = finals.get(pair.to);
        if (id === undefined || id === pair.during) return [];
        return pair.prefixes
          .filter((prefix) => target.has(prefix))
          .map((prefix) => ({ do: 'class' as const, prefix, class: id }));
      });
      /* the widest first: what falls to an enclosing prefix finds that one gone, or as it will be */
      const gone = [...from.classes.keys()].filter((prefix) => !target.has(prefix));
      gone.sort((a, b) => bitsOf(a) - bitsOf(b));
      return [...merged, ...gone.map((prefix) => ({ do: 'unclass' as const, prefix }))];
    },
    final: (name) => (aliveNames.has(name) ? finals.get(name) : undefined),
    alive: () => new Set([...aliveNames].flatMap((name) => finals.get(name) ?? [])),
    homes: () =>
      new Map([...aliveNames].flatMap((name) => (name === NODE ? [] : [[name, finals.get(name)!] as const]))),
  };
}

function pairUp(from: ReadonlyMap<string, number>, target: ReadonlyMap<string, ClassName>): Pair[] {
  const pairs = new Map<string, Pair>();
  const add = (prefix: string, id: number, name: ClassName): void => {
    const key = `${id} ${name}`;
    const pair = pairs.get(key);
    if (pair) pair.prefixes.push(prefix);
    else pairs.set(key, { from: id, to: name, prefixes: [prefix], during: id });
  };
  const around = { from: new Enclosing(from), target: new Enclosing(target) };
  for (const [prefix, name] of target) add(prefix, from.get(prefix) ?? around.from.of(prefix) ?? 0, name);
  for (const [prefix, id] of from) if (!target.has(prefix)) add(prefix, id, around.target.of(prefix) ?? NONE);
  return [...pairs.values()].sort((a, b) => b.prefixes.length - a.prefixes.length);
}

/** A class keeps the number that it had, or takes that of most of its addresses; each number goes to one class. */
function chooseHomes(pairs: readonly Pair[], memory: ReadonlyMap<ClassName, number>): Map<ClassName, number> {
  const homes = new Map<ClassName, number>();
  const taken = new Set<number>();
  for (const remembered of [true, false]) {
    for (const { from, to } of pairs) {
      if (from <= NODE_ID || to === NONE || to === NODE || homes.has(to) || taken.has(from)) continue;
      if (remembered && memory.get(to) !== from) continue;
      homes.set(to, from);
      taken.add(from);
    }
  }
  return homes;
}
