/**
 * Atoms: the distinct conditions on a peer's address that the policies in force name, each once however many rules name it. An
 * egress rule with a named port has atoms of its own, which match a pod with the number that the name has there.
 */
import type { BlockPeer, ContainerPort, Labels, PolicyPeer } from '../model.js';
import { formatPrefix, type Protocol } from '../net.js';
import { namedPort } from './ports.js';
import { matchesSelector, selectorText } from './selector.js';

export interface NamedPort {
  readonly name: string;
  readonly protocol: Protocol;
}

/** Pods that differ in nothing that a selector or a port's name can tell apart. */
export interface Alike {
  readonly namespace: string;
  readonly labels: Labels;
  readonly ports: readonly ContainerPort[];
}

export interface Atom {
  /** Canonical: the same condition has the same text on every node at every time. */
  readonly text: string;
  /** Absent: anyone (with a port of that name). */
  readonly peer: PolicyPeer | undefined;
  /** The namespace that it is confined to. */
  readonly namespace: string | undefined;
  readonly port: NamedPort | undefined;
  /** How many rules name it. */
  uses: number;
}

export interface BlockAtom extends Atom {
  readonly peer: BlockPeer;
}

export function isBlock(atom: Atom): atom is BlockAtom {
  return atom.peer?.kind === 'block';
}

/** The atoms in use, and which have come or gone. */
export class Atoms {
  readonly #byText = new Map<string, Atom>();
  readonly #fresh = new Set<Atom>();
  readonly #unused = new Set<Atom>();

  /** The atom of a peer in a policy of this namespace. */
  acquire(peer: PolicyPeer | undefined, policyNamespace: string, port?: NamedPort): Atom {
    const namespace = peer?.kind === 'pods' && !peer.namespaces ? policyNamespace : undefined;
    const text = atomText(peer, namespace, port);
    let atom = this.#byText.get(text);
    if (!atom) {
      atom = { text, peer, namespace, port, uses: 0 };
      this.#byText.set(text, atom);
      this.#fresh.add(atom);
    }
    atom.uses++;
    this.#unused.delete(atom);
    return atom;
  }

  release(atom: Atom): void {
    if (--atom.uses === 0) this.#unused.add(atom);
  }

  /** What has come into use and what is in use no more since the last call. */
  take(): { fresh: readonly Atom[]; gone: readonly Atom[] } {
    for (const atom of this.#unused) this.#byText.delete(atom.text);
    const gone = [...this.#unused].filter((atom) => !this.#fresh.delete(atom));
    const fresh = [...this.#fresh];
    this.#unused.clear();
    this.#fresh.clear();
    return { fresh, gone };
  }

  values(): Iterable<Atom> {
    return this.#byText.values();
  }
}

/** PORTLESS where an atom without a port matches the pod, the port's number where one with a port does. */
export function matchPod(atom: Atom, pod: Alike, namespaceLabels: Labels): number | undefined {
  const { peer } = atom;
  if (peer?.kind === 'block') return undefined;
  if (peer) {
    if (atom.namespace !== undefined && atom.namespace !== pod.namespace) return undefined;
    if (peer.namespaces && !matchesSelector(peer.namespaces, namespaceLabels)) return undefined;
    if (peer.pods && !matchesSelector(peer.pods, pod.labels)) return undefined;
  }
  return resolve(atom, pod.ports);
}

export const PORTLESS = 0;

/** The same for an atom that is known to match the pod's address. */
export function resolve(atom: Atom, ports: readonly ContainerPort[]): number | undefined {
  return atom.port ? namedPort(ports, atom.port.name, atom.port.protocol) : PORTLESS;
}

/** What an address matches: the atoms, with the ports that they found. */
export interface Signature {
  /** Canonical; '' where nothing matches. */
  readonly text: string;
  readonly matches: ReadonlyMap<Atom, number>;
}

export function signatureOf(matches: ReadonlyMap<Atom, number>): Signature {
  const texts = Array.from(matches, ([{ text }, port]) => (port === PORTLESS ? text : `${text}=${port}`));
  return { text: texts.sort().join('; '), matches };
}

function atomText(peer: PolicyPeer | undefined, namespace: string | undefined, port: NamedPort | undefined): string {
  const suffix = port ? ` :${port.name}/${port.protocol}` : '';
  if (!peer) return `anyone${suffix}`;
  if (peer.kind === 'block') {
    const except = peer.except.map((prefix) => ` -${formatPrefix(prefix)}`).sort();
    return `${formatPrefix(peer.cidr)}${[...new Set(except)].join('')}${suffix}`;
  }
  const where = namespace ?? `{${selectorText(peer.namespaces ?? [])}}`;
  return `${where}/{${selectorText(peer.pods ?? [])}}${suffix}`;
}
