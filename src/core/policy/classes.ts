/** Classes: addresses that the same atoms match. Rows of pods lie over rows of address blocks. */
import type { Atom, Signature } from './atoms.js';
import { UNMATCHED, type ClassName } from './state.js';
import { Tracked } from './tracked.js';

export interface Class {
  readonly name: ClassName;
  readonly matches: ReadonlyMap<Atom, number>;
  /** How many rows name it. */
  uses: number;
}

type Layer = 'pods' | 'blocks';

export class Classes {
  readonly rows = new Tracked<string, ClassName>();
  readonly #layers: Readonly<Record<Layer, Map<string, Class>>> = { pods: new Map(), blocks: new Map() };
  readonly #byName = new Map<ClassName, Class>();
  readonly #byAtom = new Map<Atom, Set<Class>>();
  readonly #touched = new Set<Class>();

  /** The class of a signature; it is in force once a row names it. */
  of({ text, matches }: Signature): Class {
    const name = text || UNMATCHED;
    const known = this.#byName.get(name);
    if (known) return known;
    const made: Class = { name, matches, uses: 0 };
    this.#byName.set(name, made);
    this.#touched.add(made);
    return made;
  }

  /** Gives a prefix its row in a layer, or takes it away. */
  put(layer: Layer, prefix: string, to: Class | undefined): void {
    const rows = this.#layers[layer];
    const from = rows.get(prefix);
    if (from === to) return;
    if (from) this.#use(from, -1);
    if (to) {
      this.#use(to, 1);
      rows.set(prefix, to);
    } else rows.delete(prefix);
    this.rows.set(prefix, (this.#layers.pods.get(prefix) ?? this.#layers.blocks.get(prefix))?.name);
  }

  /** Prefixes that have a row in this layer. */
  prefixes(layer: Layer): Iterable<string> {
    return this.#layers[layer].keys();
  }

  with(atom: Atom): Iterable<Class> {
    return this.#byAtom.get(atom) ?? [];
  }

  /** Classes that have come into force, and classes that no row names any more, since the last call. */
  take(): { born: Class[]; dead: Class[] } {
    const born: Class[] = [];
    const dead: Class[] = [];
    for (const one of this.#touched) {
      const known = this.#isIndexed(one);
      if (one.uses > 0 && !known) born.push(one);
      if (one.uses > 0) this.#index(one);
      else {
        if (known) dead.push(one);
        this.#forget(one);
      }
    }
    this.#touched.clear();
    return { born, dead };
  }

  #use(one: Class, by: number): void {
    one.uses += by;
    this.#touched.add(one);
  }

  #isIndexed(one: Class): boolean {
    for (const atom of one.matches.keys()) return this.#byAtom.get(atom)?.has(one) ?? false;
    return false;
  }

  #index(one: Class): void {
    for (const atom of one.matches.keys()) {
      const classes = this.#byAtom.get(atom) ?? new Set();
      this.#byAtom.set(atom, classes.add(one));
    }
  }

  #forget(one: Class): void {
    this.#byName.delete(one.name);
    for (const atom of one.matches.keys()) {
      const classes = this.#byAtom.get(atom);
      classes?.delete(one);
      if (classes?.size === 0) this.#byAtom.delete(atom);
    }
  }
}
