/**
 * What policy says of one packet, straight from the specification of NetworkPolicy: every policy, every rule, every peer, one
 * after the other. It shares nothing with the compiler, so that each can be held against the other.
 */
import type {
  DenyAction,
  Labels,
  Namespace,
  NetworkPolicy,
  Pod,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
  Selector,
} from '../model.js';
import { type Ip, prefixContains, type Protocol } from '../net.js';

export interface Cluster {
  readonly pods: ReadonlyMap<string, Pod>;
  readonly namespaces: ReadonlyMap<string, Namespace>;
  readonly policies: ReadonlyMap<string, NetworkPolicy>;
  readonly denyAction: DenyAction;
}

/** One end of a packet, as the other sees it. */
export interface Party {
  /** undefined: not known yet, so that no address block matches it. */
  readonly ip: Ip | undefined;
  /** The pod that has the address as its own; undefined for everything else, pods on a host's network included. */
  readonly pod: Pod | undefined;
  /** The node that this is an address of, '' for none. */
  readonly node: string;
}

export interface Target {
  readonly protocol: Protocol;
  readonly port: number;
}

/** What one end has to say: the sender's egress or the receiver's ingress. */
export interface Side {
  readonly direction: 'ingress' | 'egress';
  readonly allowed: boolean;
  /** The enforced policies that isolate the pod, as `ns/name`, sorted; empty where everything is allowed. */
  readonly policies: readonly string[];
  /** The rules that allow it, as `ns/name ingress[0]`. */
  readonly rules: readonly string[];
  readonly action: DenyAction;
  /** What it would be if audited policies were enforced, where one selects the pod. */
  readonly audit: { readonly allowed: boolean; readonly policies: readonly string[] } | undefined;
}

export interface Verdict {
  readonly allowed: boolean;
  /** Why no policy is asked, '' where they are. */
  readonly exempt: '' | 'itself' | 'own node';
  readonly egress: Side;
  readonly ingress: Side;
}

export function evaluate(cluster: Cluster, from: Party, to: Party, target: Target): Verdict {
  const egress = judgeSide(cluster, 'egress', from, to, target);
  const ingress = judgeSide(cluster, 'ingress', to, from, target);
  const exempt = exemption(from, to);
  return { allowed: exempt !== '' || (egress.allowed && ingress.allowed), exempt, egress, ingress };
}

/** A pod always reaches itself, and its own node it; both ways. */
function exemption(from: Party, to: Party): Verdict['exempt'] {
  if (from.pod && from.pod === to.pod) return 'itself';
  if (from.pod && to.node !== '' && from.pod.nodeName === to.node) return 'own node';
  return to.pod && from.node !== '' && to.pod.nodeName === from.node ? 'own node' : '';
}

/** The subject's side alone, without exemptions. Who is no pod is not isolated. */
export function judgeSide(
  cluster: Cluster,
  direction: Side['direction'],
  subject: Party,
  peer: Party,
  target: Target,
): Side {
  const isolating = isolatingPolicies(cluster, direction, subject.pod);
  const enforced = isolating.filter((policy) => policy.mode === 'enforce');
  const rules = enforced.flatMap((policy) => allowingRules(cluster, policy, direction, subject, peer, target));
  const all = isolating.flatMap((policy) => allowingRules(cluster, policy, direction, subject, peer, target));
  return {
    direction,
    allowed: enforced.length === 0 || rules.length > 0,
    policies: enforced.map(nameOf),
    rules,
    action: actionOf(cluster, enforced, subject.pod),
    audit:
      enforced.length === isolating.length
        ? undefined
        : { allowed: all.length > 0, policies: isolating.filter((policy) => policy.mode === 'audit').map(nameOf) },
  };
}

/** Enforced and audited ones, in the order of their names. */
export function isolatingPolicies(
  cluster: Cluster,
  direction: Side['direction'],
  pod: Pod | undefined,
): NetworkPolicy[] {
  if (!pod) return [];
  return [...cluster.policies.values()]
    .filter((policy) => policy.namespace === pod.namespace && policy[direction] !== undefined)
    .filter((policy) => selects(policy.podSelector, pod.labels))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function allowingRules(
  cluster: Cluster,
  policy: NetworkPolicy,
  direction: Side['direction'],
  subject: Party,
  peer: Party,
  target: Target,
): string[] {
  const receiver = direction === 'ingress' ? subject.pod : peer.pod;
  const names: string[] = [];
  for (const [index, rule] of (policy[direction] ?? []).entries()) {
    const matches = allowsPort(rule, receiver, target) && allowsPeer(cluster, policy, rule, peer);
    if (matches) names.push(`${nameOf(policy)} ${direction}[${index}]`);
  }
  return names;
}

/** An empty list of peers allows everyone. */
export function allowsPeer(cluster: Cluster, policy: NetworkPolicy, rule: PolicyRule, peer: Party): boolean {
  return rule.peers.length === 0 || rule.peers.some((each) => matchesPeer(cluster, policy, each, peer));
}

export function matchesPeer(cluster: Cluster, policy: NetworkPolicy, peer: PolicyPeer, { ip, pod }: Party): boolean {
  if (peer.kind === 'block') {
    if (ip === undefined) return false;
    const excepted = peer.except.some((prefix) => prefixContains(prefix, ip));
    return prefixContains(peer.cidr, ip) && !excepted;
  }
  if (!pod) return false;
  const there = peer.namespaces
    ? selects(peer.namespaces, namespaceLabels(cluster, pod.namespace))
    : pod.namespace === policy.namespace;
  return there && (peer.pods === undefined || selects(peer.pods, pod.labels));
}

export function namespaceLabels(cluster: Cluster, name: string): Labels {
  return cluster.namespaces.get(name)?.labels ?? { 'kubernetes.io/metadata.name': name };
}

/** An empty list of ports allows every port of every protocol. */
export function allowsPort(rule: PolicyRule, receiver: Pod | undefined, target: Target): boolean {
  return rule.ports.length === 0 || rule.ports.some((port) => matchesPort(port, receiver, target));
}

export function matchesPort(port: PolicyPort, receiver: Pod | undefined, target: Target): boolean {
  if (port.protocol !== target.protocol) return false;
  if ('range' in port) return port.range[0] <= target.port && target.port <= port.range[1];
  if (!('name' in port)) return true;
  const named = receiver?.ports.find((each) => each.name === port.name && each.protocol === port.protocol);
  return named?.port === target.port;
}

export function selects(selector: Selector, labels: Labels): boolean {
  for (const { key, operator, values } of selector) {
    const has = Object.hasOwn(labels, key);
    const listed = has && values.includes(labels[key] ?? '');
    if (operator === 'In' && !listed) return false;
    if (operator === 'NotIn' && listed) return false;
    if (operator === 'Exists' && !has) return false;
    if (operator === 'DoesNotExist' && has) return false;
  }
  return true;
}

function actionOf(cluster: Cluster, policies: readonly NetworkPolicy[], pod: Pod | undefined): DenyAction {
  const explicit = policies.flatMap((policy) => policy.denyAction ?? []);
  if (explicit.length > 0) return explicit.includes('drop') ? 'drop' : 'reject';
  return cluster.namespaces.get(pod?.namespace ?? '')?.denyAction ?? cluster.denyAction;
}

function nameOf({ namespace, name }: NetworkPolicy): string {
  return `${namespace}/${name}`;
}
