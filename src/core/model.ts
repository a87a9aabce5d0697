/**
 * What Weir keeps of the Kubernetes objects it reads: validated, in its own words, nothing more than the dataplane needs.
 * Both sources (API server, manifests folder) deliver these; everything downstream is a pure function of them.
 */
import type { ErrorCode } from '../errors.js';
import type { Ip, Protocol } from './net.js';

export const SCHEDULERS = ['maglev', 'rr', 'random'] as const;
export type Scheduler = (typeof SCHEDULERS)[number];
export const FORWARDINGS = ['nat', 'dsr'] as const;
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
  readonly ports: readonly ServicePort[];
  readonly internalTrafficPolicy: TrafficPolicy;
  readonly externalTrafficPolicy: TrafficPolicy;
}

export interface EndpointPort {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
}

export interface Endpoint {
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
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly Endpoint[];
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
}

export type Resource = Service | EndpointSlice | Node;
export type Kind = Resource['kind'];

/** `Kind namespace/name`, or `Kind name` for what has no namespace: how an object is named in logs, tables and errors. */
export function resourceLabel(resource: { kind: string; namespace?: string; name: string }): string {
  return resource.namespace
    ? `${resource.kind} ${resource.namespace}/${resource.name}`
    : `${resource.kind} ${resource.name}`;
}

/** Something wrong with one object: reported once a change, never in the way of another object. */
export interface Problem {
  readonly object: string;
  readonly field: string;
  readonly message: string;
  /** By which docs/operations.md explains it. */
  readonly code?: ErrorCode;
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
}
