/**
 * Which endpoints of a service take traffic: the rules of kube-proxy (KEP-1669 for terminating endpoints, KEP-2433 and KEP-3015
 * for hints), for one port and one address family.
 */
import { DEFAULT_WEIGHT } from './weights.js';
import { type Family, familyOf, type Ip, ipBytes } from './net.js';
import type { Endpoint, EndpointSlice, ServicePort } from './model.js';

/** One address of an endpoint, with the port that the service port leads to. */
export interface Candidate extends Omit<Endpoint, 'addresses'> {
  readonly address: Ip;
  readonly port: number;
  /** Its slice's. */
  readonly weight: number;
}

/** Where the rules are applied: this node. */
export interface Place {
  readonly nodeName: string;
  readonly zone: string;
}

export interface Usable {
  /** For traffic policy Cluster. */
  readonly cluster: readonly Candidate[];
  /** For traffic policy Local. */
  readonly local: readonly Candidate[];
  /** Every endpoint that may still serve somebody somewhere: what backend tables hold. */
  readonly all: readonly Candidate[];
}

/** The endpoints of a port in one family, merged over all slices, in (address, port) order. */
export function candidates(slices: readonly EndpointSlice[], port: ServicePort, family: Family): Candidate[] {
  const found = new Map<string, Candidate>();
  for (const slice of slices) {
    const target = slice.ports.find((entry) => entry.name === port.name && entry.protocol === port.protocol);
    if (!target) continue;
    for (const endpoint of slice.endpoints) {
      for (const address of endpoint.addresses) {
        if (familyOf(address) === family) merge(found, address, target.port, endpoint, slice.weight ?? DEFAULT_WEIGHT);
      }
    }
  }
  return inAddressOrder(found.values());
}

export function usableEndpoints(all: readonly Candidate[], place: Place): Usable {
  const isLocal = (endpoint: Candidate): boolean => endpoint.nodeName !== '' && endpoint.nodeName === place.nodeName;
  return {
    cluster: applyHints(readyOrServing(all), place),
    local: readyOrServing(all.filter(isLocal)),
    all: all.filter((endpoint) => endpoint.ready || endpoint.serving),
  };
}

/** A slice that has just been split may name an endpoint twice: the better state counts. */
function merge(found: Map<string, Candidate>, address: Ip, port: number, endpoint: Endpoint, weight: number): void {
  const key = `${address} ${port}`;
  const known = found.get(key);
  if (known?.ready) return;
  const { addresses: _, ...rest } = endpoint;
  if (known && !rest.ready && !(rest.serving && !known.serving)) return;
  found.set(key, { address, port, weight, ...rest });
}

/** The ready ones; where there is none, those that end but still serve. */
function readyOrServing(endpoints: readonly Candidate[]): readonly Candidate[] {
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  return ready.length > 0 ? ready : endpoints.filter((endpoint) => endpoint.serving && endpoint.terminating);
}

/** Hints count only if every ready endpoint carries them and some name this place: node first, then zone. */
function applyHints(endpoints: readonly Candidate[], place: Place): readonly Candidate[] {
  if (endpoints.length === 0 || endpoints.some((endpoint) => !endpoint.ready)) return endpoints;
  return (
    hinted(endpoints, (endpoint) => endpoint.nodeHints, place.nodeName) ??
    hinted(endpoints, (endpoint) => endpoint.zoneHints, place.zone) ??
    endpoints
  );
}

function hinted(
  endpoints: readonly Candidate[],
  hints: (endpoint: Candidate) => readonly string[],
  here: string,
): readonly Candidate[] | undefined {
  if (here === '' || endpoints.some((endpoint) => hints(endpoint).length === 0)) return undefined;
  const chosen = endpoints.filter((endpoint) => hints(endpoint).includes(here));
  return chosen.length > 0 ? chosen : undefined;
}

/** The order in which a rotation takes turns: addresses as numbers, then ports. */
function inAddressOrder(endpoints: Iterable<Candidate>): Candidate[] {
  const keyed = Array.from(endpoints, (endpoint) => ({ endpoint, key: ipBytes(endpoint.address) }));
  keyed.sort((a, b) => Buffer.compare(a.key, b.key) || a.endpoint.port - b.endpoint.port);
  return keyed.map(({ endpoint }) => endpoint);
}
