/** What the tables say of a drop: whose the two ends are, which policies denied it, and which rule comes closest to allowing it. */
import { type Ip, protocolName } from '../core/net.js';
import { type ClassRule, closestRule } from '../core/policy/closest.js';
import type { NearMiss } from '../core/policy/nearest.js';
import type { Direction } from '../core/policy/state.js';
import { type Drop, type DropKey, type Endpoint, HOOK, MAPS } from '../maps/layout.js';
import { openTable } from '../maps/table.js';
import { podName, policiesIn, PolicyReader } from './policy-tables.js';
import { Directory } from './who.js';

export interface Cause {
  /** As a pod sees it at its own device, as the node sees it at an uplink. */
  readonly direction: Direction;
  /** Names of the ends, '' where no table knows them. */
  readonly sourceName: string;
  readonly destinationName: string;
  /** At a pod's device the pod, `ns/name`. */
  readonly pod: string;
  /** Name of the other end; where no pod is concerned, of the end that has one. */
  readonly peer: string;
  /** Those that isolated it when it was dropped. */
  readonly policies: readonly string[];
  /** Where policies denied it, told from the rules that they have now. */
  readonly nearest: NearMiss | null;
}

/** A drop at a pod's device, and the set of rules that denied it, 0: none did, or none of that name is left. */
interface Scene {
  readonly direction: Direction;
  readonly pod: string;
  readonly other: Ip;
  readonly atPod: boolean;
  readonly set: number;
}

/** In the order of the drops. */
export function causesOf(root: string, drops: readonly (readonly [DropKey, Drop])[]): Cause[] {
  if (drops.length === 0) return [];
  using endpoints = openTable(root, MAPS.weir_endpoints);
  using policy = new PolicyReader(root);
  using directory = new Directory(root);
  const scenes = drops.map(([key, drop]) => sceneOf(key, drop, endpoints, policy));
  const rules = policy.rules(new Set(scenes.flatMap(({ set }) => (set === 0 ? [] : [set]))));
  return drops.map(([key, drop], i) => {
    const scene = scenes[i]!;
    const { direction, atPod, other, pod, set } = scene;
    const [sourceName, destinationName] = [directory.of(key.source), directory.of(key.destination)];
    const otherName = other === key.source ? sourceName : destinationName;
    return {
      ...{ direction, sourceName, destinationName, pod },
      peer: atPod ? otherName : sourceName || destinationName,
      policies: policiesIn(policy.name(drop.rule)),
      nearest: set === 0 ? null : nearestOf(key, scene, rules.get(set) ?? [], policy.classOf(other)),
    };
  });
}

function nearestOf(key: DropKey, { direction }: Scene, rules: readonly ClassRule[], peers: number): NearMiss | null {
  const denied = { direction, class: peers, protocol: protocolName(key.protocol), port: key.port };
  return closestRule(rules, denied) ?? null;
}

function sceneOf(
  { hook, source, destination }: DropKey,
  { rule }: Drop,
  endpoints: { get(ip: Ip): Endpoint | undefined },
  policy: PolicyReader,
): Scene {
  const inwards = hook !== HOOK.UP_OUT && hook !== HOOK.POD_IN; // pod_in sees what comes from the pod
  const atPod = hook === HOOK.POD_IN || hook === HOOK.POD_OUT;
  const [own, other] = inwards ? [destination, source] : [source, destination];
  const endpoint = atPod ? endpoints.get(own) : undefined;
  const sets = inwards ? [endpoint?.ingress, endpoint?.auditIngress] : [endpoint?.egress, endpoint?.auditEgress];
  return {
    direction: inwards ? 'ingress' : 'egress',
    ...{ atPod, other },
    pod: podName(policy.name(endpoint?.pod ?? 0)),
    set: sets.find((set = 0) => rule !== 0 && policy.label(set) === rule) ?? 0,
  };
}
