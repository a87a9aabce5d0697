/**
 * What load balancers ask a node about a service with external traffic policy Local: how many endpoints it has there. Pure; the
 * contract is kube-proxy's (pkg/proxy/healthcheck).
 */
import type { EndpointSlice, Service } from './model.js';
import { type Family, familyOf, type Ip } from './net.js';

export interface HealthCheck {
  /** spec.healthCheckNodePort */
  readonly port: number;
  /** Ready endpoints on this node. Those that end do not count, although they still serve (KEP-1669). */
  readonly endpoints: number;
}

/** What is served for a service, or undefined where it has no health check. */
export function healthCheckOf(
  service: Service,
  slices: readonly EndpointSlice[],
  nodeName: string,
): HealthCheck | undefined {
  const { healthCheckNodePort: port } = service;
  if (port === 0) return undefined;
  const local: Record<Family, Set<Ip>> = { v4: new Set(), v6: new Set() };
  for (const { endpoints } of slices) {
    for (const { ready, nodeName: where, addresses } of endpoints) {
      if (!ready || where === '' || where !== nodeName) continue;
      for (const address of addresses) local[familyOf(address)].add(address);
    }
  }
  /* a pod with an address in each family is one endpoint */
  return { port, endpoints: Math.max(local.v4.size, local.v6.size) };
}

/** The answer to a load balancer, whatever path it asks for. */
export function healthCheckAnswer(
  service: { readonly namespace: string; readonly name: string },
  endpoints: number,
  healthy: boolean,
): { readonly status: 200 | 503; readonly headers: Readonly<Record<string, string>>; readonly body: string } {
  const { namespace, name } = service;
  const answer = { service: { namespace, name }, localEndpoints: endpoints, serviceProxyHealthy: healthy };
  return {
    status: healthy && endpoints > 0 ? 200 : 503,
    headers: {
      'Content-Type': 'application/json',
      'X-Content-Type-Options': 'nosniff',
      'X-Load-Balancing-Endpoint-Weight': `${endpoints}`,
    },
    body: JSON.stringify(answer),
  };
}
