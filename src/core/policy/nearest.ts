/** For a denied packet: the rule that comes closest to allowing it, and in words what it lacks. */
import type {
  BlockPeer,
  Labels,
  NetworkPolicy,
  PodPeer,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
  Selector,
} from '../model.js';
import { formatPrefix, prefixContains } from '../net.js';
import {
  allowsPeer,
  allowsPort,
  type Cluster,
  isolatingPolicies,
  namespaceLabels,
  type Party,
  selects,
  type Side,
  type Target,
} from './evaluate.js';
import { partyName } from './parties.js';
import { requirementText, selectorText } from './selector.js';

export interface NearMiss {
  /** `ns/name ingress[0]` */
  readonly rule: string;
  /** What is in the way; each continues the name of the rule. */
  readonly lacks: readonly string[];
}

/** A reason against a peer or a port, and how far from a match it is. */
interface Lack {
  readonly text: string;
  readonly distance: number;
}

/** The nearest rule of the enforced policies, the first of equals; undefined where they have no rule at all. */
export function nearestRule(
  cluster: Cluster,
  direction: Side['direction'],
  subject: Party,
  peer: Party,
  target: Target,
): NearMiss | undefined {
  const receiver = direction === 'ingress' ? subject : peer;
  let best: { rule: string; lacks: readonly Lack[]; distance: number } | undefined;
  for (const policy of isolatingPolicies(cluster, direction, subject.pod)) {
    if (policy.mode === 'audit') continue;
    for (const [index, rule] of (policy[direction] ?? []).entries()) {
      const lacks = [...peerLack(cluster, policy, rule, peer), ...portLack(rule, receiver, target)];
      const distance = lacks.reduce((sum, lack) => sum + lack.distance, 0);
      if (best && best.distance <= distance) continue;
      best = { rule: `${policy.namespace}/${policy.name} ${direction}[${index}]`, lacks, distance };
    }
  }
  return best && { rule: best.rule, lacks: best.lacks.map((lack) => lack.text) };
}

function portLack(rule: PolicyRule, receiver: Party, target: Target): Lack[] {
  if (allowsPort(rule, receiver.pod, target)) return [];
  const protocol = target.protocol.toLowerCase();
  const same = rule.ports.some((port) => port.protocol === target.protocol);
  const wanted = same ? `${target.port}` : `${protocol}/${target.port}`;
  const list = rule.ports.map((port) => portText(port, receiver)).join(', ');
  return [{ text: `allows ${list}, not ${wanted}`, distance: same ? 1 : 2 }];
}

function portText(port: PolicyPort, receiver: Party): string {
  const protocol = port.protocol.toLowerCase();
  if ('range' in port) {
    const [first, last] = port.range;
    return first === last ? `${protocol}/${first}` : `${protocol}/${first}-${last}`;
  }
  if (!('name' in port)) return protocol;
  const named = receiver.pod?.ports.find((each) => each.name === port.name && each.protocol === port.protocol);
  const meaning = named ? `which is ${named.port} at` : 'which is no port of';
  return `${protocol}/${port.name} (${meaning} ${partyName(receiver)})`;
}

function peerLack(cluster: Cluster, policy: NetworkPolicy, rule: PolicyRule, party: Party): Lack[] {
  if (allowsPeer(cluster, policy, rule, party)) return [];
  const lacks = rule.peers.map((peer) => lackOf(cluster, policy, peer, party));
  const [nearest] = lacks.sort((a, b) => a.distance - b.distance);
  return nearest ? [nearest] : [];
}

/** Further away than a few labels. */
const NO_POD = 5;
const OUTSIDE = 4;

function lackOf(cluster: Cluster, policy: NetworkPolicy, peer: PolicyPeer, party: Party): Lack {
  if (peer.kind === 'block') return blockLack(peer, party);
  const whom = `is for ${podsText(peer, policy)}`;
  const { pod } = party;
  if (!pod) {
    const what = party.node === '' ? "no pod's address" : `of node ${party.node}, which no selector matches`;
    return { text: `${whom}; ${partyName(party)} is ${what}`, distance: NO_POD };
  }
  const there = peer.namespaces
    ? mismatches(peer.namespaces, namespaceLabels(cluster, pod.namespace), `namespace ${pod.namespace}`)
    : pod.namespace === policy.namespace
      ? []
      : [`${partyName(party)} is in namespace ${pod.namespace}`];
  const labels = mismatches(peer.pods ?? [], pod.labels, partyName(party));
  return { text: `${whom}; ${[...there, ...labels].join(', ')}`, distance: there.length + labels.length };
}

function blockLack({ cidr, except }: BlockPeer, { ip, ...rest }: Party): Lack {
  const range = formatPrefix(cidr);
  if (ip === undefined)
    return { text: `is for ${range}; ${partyName({ ip, ...rest })} has no address`, distance: OUTSIDE };
  const hole = except.find((prefix) => prefixContains(prefix, ip));
  if (hole) return { text: `is for ${range} except ${formatPrefix(hole)}, where ${ip} is`, distance: 2 };
  return { text: `is for ${range}; ${ip} is outside`, distance: OUTSIDE };
}

function podsText({ namespaces, pods }: PodPeer, policy: NetworkPolicy): string {
  const which = pods && pods.length > 0 ? `pods with ${selectorText(pods)}` : 'pods';
  if (!namespaces) return `${which} in namespace ${policy.namespace}`;
  return namespaces.length > 0
    ? `${which} in namespaces with ${selectorText(namespaces)}`
    : `${which} in any namespace`;
}

/** What each failing requirement meets instead. */
function mismatches(selector: Selector, labels: Labels, who: string): string[] {
  return selector
    .filter((requirement) => !selects([requirement], labels))
    .map((requirement) => {
      const { key } = requirement;
      if (!Object.hasOwn(labels, key)) return `${who} has no label ${key}`;
      const has = requirementText({ key, operator: 'In', values: [labels[key] ?? ''] });
      return `${who} has ${has}`;
    });
}
