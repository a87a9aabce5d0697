/** The rules of a policy as terms: which atoms, which ports, under which name. */
import type { NetworkPolicy, PolicyPort, PolicyRule } from '../model.js';
import type { Protocol } from '../net.js';
import type { Atom, Atoms, NamedPort } from './atoms.js';
import { type PortPrefix, portPrefixes } from './ports.js';
import type { Direction } from './state.js';

export interface PortTerm extends PortPrefix {
  readonly protocol: Protocol | 'any';
}

/** Peers that any of the atoms matches (absent: anyone), at the ports; or at those by name, as pods resolve it. */
export interface Term {
  readonly rule: string;
  readonly atoms: readonly Atom[] | undefined;
  readonly ports: readonly PortTerm[];
  /** Ingress: the subject's port of this name. */
  readonly own: readonly NamedPort[];
  /** Egress: the protocol of the port that the atoms found at the peer. */
  readonly found: Protocol | undefined;
}

const EVERY_PORT: readonly PortTerm[] = [{ protocol: 'any', port: 0, bits: 0 }];

/** Acquires the atoms that it names; `releaseTerms` gives them back. */
export function compileRules(policy: NetworkPolicy, direction: Direction, atoms: Atoms): readonly Term[] {
  return (policy[direction] ?? []).flatMap((rule, index) => {
    const text = `NetworkPolicy ${policy.namespace}/${policy.name} ${direction}[${index}]`;
    return compileRule(rule, text, policy.namespace, direction, atoms);
  });
}

export function releaseTerms(terms: readonly Term[], atoms: Atoms): void {
  for (const term of terms) term.atoms?.forEach((atom) => atoms.release(atom));
}

function compileRule(
  { peers, ports }: PolicyRule,
  rule: string,
  namespace: string,
  direction: Direction,
  atoms: Atoms,
): Term[] {
  const named = ports.flatMap((port): NamedPort[] => ('name' in port ? [port] : []));
  const numbers = ports.length === 0 ? EVERY_PORT : ports.flatMap(portTerms);
  const own = direction === 'ingress' ? named : [];
  const terms: Term[] = [];
  if (numbers.length + own.length > 0) {
    const any = peers.length === 0 ? undefined : peers.map((peer) => atoms.acquire(peer, namespace));
    terms.push({ rule, atoms: any, ports: numbers, own, found: undefined });
  }
  for (const port of direction === 'egress' ? named : []) {
    const list = peers.length === 0 ? [undefined] : peers;
    const at = list.map((peer) => atoms.acquire(peer, namespace, port));
    terms.push({ rule, atoms: at, ports: [], own: [], found: port.protocol });
  }
  return terms;
}

function portTerms(port: PolicyPort): PortTerm[] {
  const { protocol } = port;
  if ('name' in port) return [];
  if (!('range' in port)) return [{ protocol, port: 0, bits: 0 }];
  return portPrefixes(...port.range).map((prefix) => ({ protocol, ...prefix }));
}
