/**
 * What Weir keeps of the Kubernetes objects it reads: validated, in its own words, nothing more than the dataplane needs.
 * Both sources (API server, manifests folder) deliver these; everything downstream is a pure function of them.
 */
import type { ErrorCode } from '../errors.js';
import type { Ip, Prefix, Protocol } from './net.js';

export const SCHEDULERS = ['maglev', 'rr', 'lc', 'sh', 'dh', 'random'] as const;
export type Scheduler = (typeof SCHEDULERS)[number];
export const FORWARDINGS = ['nat', 'dsr', 'dsr-l2'] as const;
export type Forwarding = (typeof FORWARDINGS)[number];
export type TrafficPolicy = 'Cluster' | 'Local';

export interface ServicePort {
  /** '' for the single port of a service that names none. */
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
  /** 0: none allocated. */
  readonly nodePort: number;
}

export interface Service {
  readonly kind: 'Service';
  readonly namespace: string;
  readonly name: string;
  /** ms since 1970; 0 where the object has none (a manifest). Decides who keeps an address that two services claim. */
  readonly created: number;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly clusterIps: readonly Ip[];
  readonly externalIps: readonly Ip[];
  /** status.loadBalancer.ingress addresses whose ipMode is VIP (the default). */
  readonly loadBalancerIps: readonly Ip[];
  /** spec.loadBalancerSourceRanges: who may use the load balancer addresses; none of a family: everybody of that family. */
  readonly sourceRanges: readonly Prefix[];
  readonly ports: readonly ServicePort[];
  readonly internalTrafficPolicy: TrafficPolicy;
  readonly externalTrafficPolicy: TrafficPolicy;
  /** Where load balancers ask whether this node has endpoints; 0 but for type LoadBalancer with external policy Local. */
  readonly healthCheckNodePort: number;
  /** s for which a client keeps its backend (session affinity ClientIP); absent: it does not. */
  readonly affinity?: number;
}

export interface EndpointPort {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
}

export interface Endpoint {
  /** Name of the pod (targetRef), where there is one. */
  readonly pod?: string;
  readonly addresses: readonly Ip[];
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  /** '' where unknown: such an endpoint is remote. */
  readonly nodeName: string;
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
}

export interface EndpointSlice {
  readonly kind: 'EndpointSlice';
  readonly namespace: string;
  readonly name: string;
  /** Name of the Service it belongs to, in the same namespace (label kubernetes.io/service-name). */
  readonly service: string;
  /** Of each of its endpoints, as annotated; absent: 1. */
  readonly weight?: number;
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly Endpoint[];
  /** ms since 1970 at which the pod or service changed that this version follows; 0 where nobody says. */
  readonly triggered: number;
}

export interface Node {
  readonly kind: 'Node';
  readonly name: string;
  /** Internal and external addresses of status.addresses. */
  readonly addresses: readonly Ip[];
  /** The InternalIPs alone, first of each family first. */
  readonly internalIps: readonly Ip[];
  readonly podCidrs: readonly string[];
  readonly zone: string;
  /** False once the node is being deleted or the cluster autoscaler has marked it: load balancers are to leave it. */
  readonly eligible: boolean;
}

export type Labels = Readonly<Record<string, string>>;

/** A port that a container names, for policies that name it too. */
export interface ContainerPort {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
}

/** What policy asks of a pod. Equal labels, port lists and names of many pods are the same object. */
export interface Pod {
  readonly kind: 'Pod';
  readonly namespace: string;
  readonly name: string;
  /** ms since 1970; 0 where the object has none. The younger of two pods has an address that both claim. */
  readonly created: number;
  readonly labels: Labels;
  /** Empty until the pod has got one. */
  readonly addresses: readonly Ip[];
  readonly ports: readonly ContainerPort[];
  /** Succeeded or failed: its addresses may belong to another pod by now. */
  readonly finished: boolean;
  readonly hostNetwork: boolean;
  readonly nodeName: string;
}

export const DENY_ACTIONS = ['drop', 'reject'] as const;
/** What becomes of traffic that no rule allows: silence, or an answer that it is not wanted. */
export type DenyAction = (typeof DENY_ACTIONS)[number];

export interface Namespace {
  readonly kind: 'Namespace';
  readonly name: string;
  /** Always with kubernetes.io/metadata.name. */
  readonly labels: Labels;
  readonly denyAction?: DenyAction;
}

export const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const;

/** One condition on labels; a pair of matchLabels is an In with one value. */
export interface Requirement {
  readonly key: string;
  readonly operator: (typeof OPERATORS)[number];
  /** Sorted; empty for Exists and DoesNotExist. */
  readonly values: readonly string[];
}

/** All of these must hold, so the empty list selects everything. Sorted: equal selectors are equal lists. */
export type Selector = readonly Requirement[];

/** Pods by labels: absent `namespaces` is the policy's own namespace, absent `pods` is all pods there. */
export interface PodPeer {
  readonly kind: 'pods';
  readonly namespaces?: Selector;
  readonly pods?: Selector;
}

export interface BlockPeer {
  readonly kind: 'block';
  readonly cidr: Prefix;
  readonly except: readonly Prefix[];
}

export type PolicyPeer = PodPeer | BlockPeer;

/** `name`: a port of the pod that receives; `range`: from first to last; neither: every port of the protocol. */
export type PolicyPort =
  | { readonly protocol: Protocol; readonly name: string }
  | { readonly protocol: Protocol; readonly range: readonly [number, number] }
  | { readonly protocol: Protocol };

/** Allows what any peer and any port matches; an empty list matches everything. */
export interface PolicyRule {
  readonly peers: readonly PolicyPeer[];
  readonly ports: readonly PolicyPort[];
}

export interface NetworkPolicy {
  readonly kind: 'NetworkPolicy';
  readonly namespace: string;
  readonly name: string;
  readonly podSelector: Selector;
  /** Absent: the policy does not isolate in this direction. */
  readonly ingress?: readonly PolicyRule[];
  readonly egress?: readonly PolicyRule[];
  /** An audited policy reports what it would deny and denies nothing. */
  readonly mode: 'enforce' | 'audit';
  readonly denyAction?: DenyAction;
}

export type Resource = Service | EndpointSlice | Node | Pod | Namespace | NetworkPolicy;
export type Kind = Resource['kind'];

/** `Kind namespace/name`, or `Kind name` for what has no namespace: how an object is named in logs, tables and errors. */
export function resourceLabel(resource: { kind: string; namespace?: string; name: string }): string {
  return resource.namespace
    ? `${resource.kind} ${resource.namespace}/${resource.name}`
    : `${resource.kind} ${resource.name}`;
}

/** An object as an Event names it. */
export interface ObjectReference {
  readonly kind: Kind;
  /** '' for kinds that have none. */
  readonly namespace: string;
  readonly name: string;
  /** '' where unknown. */
  readonly uid: string;
}

/** Why an Event is written: one word for programs to tell problems apart. */
export const EVENT_REASONS = [
  'InvalidObject',
  'InvalidSetting',
  'AddressConflict',
  'ServiceDoesNotFit',
  'FailedToStartServiceHealthcheck',
] as const;
export type EventReason = (typeof EVENT_REASONS)[number];

/** Something wrong with one object: reported once a change, never in the way of another object. */
export interface Problem {
  readonly object: string;
  readonly field: string;
  readonly message: string;
  /** By which docs/operations.md explains it. */
  readonly code?: ErrorCode;
  /** Of the Event that tells whoever looks at the object; none where it is not an object of the cluster. */
  readonly event?: { readonly about: ObjectReference; readonly reason: EventReason };
}

/** One step of a source: an object as it is now, or its disappearance. */
export type Change =
  | { readonly op: 'set'; readonly resource: Resource }
  | { readonly op: 'delete'; readonly kind: Kind; readonly namespace: string; readonly name: string };

/** What a source tells the agent. `synced` follows the last change of everything that was there at the start. */
export interface SourceEvents {
  changes(changes: readonly Change[]): void;
  problem(problem: Problem): void;
  /** Good news and things worth a log line: a file is readable again, the API server answers again. */
  info?(message: string): void;
  synced(): void;
}

/** A stream of Kubernetes objects: the API server or a folder of manifests. */
export interface Source {
  start(events: SourceEvents): Promise<void>;
  stop(): Promise<void>;
  /** Tells the cluster of a problem with one of its objects. Returns at once and may do nothing; a folder has nobody to tell. */
  publish?(problem: Problem): void;
}
