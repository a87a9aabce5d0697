/** From the numbers in the tables to the words that an operator reads. */
import type { FrontendKind } from '../core/desired.js';
import { familyOf, type Ip, ipBytes } from '../core/net.js';
import { BACKEND_STATE, FLOW_STATE, FORWARDING, FRONTEND_KIND, SCHEDULER } from '../maps/layout.js';

/** Names by number; a number without one stays a number. */
export function namesOf(numbers: Readonly<Record<string, number>>): (number: number) => string {
  const names = new Map(
    Object.entries(numbers).map(([name, number]) => [number, name.toLowerCase().replaceAll('_', '-')]),
  );
  return (number) => names.get(number) ?? `${number}`;
}

export const schedulerName = namesOf(SCHEDULER);
export const forwardingName = namesOf(FORWARDING);
export const backendStateName = namesOf(BACKEND_STATE);
export const flowStateName = namesOf(FLOW_STATE);

const KIND_NAMES: Readonly<Record<number, FrontendKind>> = {
  [FRONTEND_KIND.CLUSTER_IP]: 'ClusterIP',
  [FRONTEND_KIND.NODE_PORT]: 'NodePort',
  [FRONTEND_KIND.EXTERNAL_IP]: 'ExternalIP',
  [FRONTEND_KIND.LOAD_BALANCER]: 'LoadBalancer',
};

/** As the numbers of their kinds have it. */
export const FRONTEND_ORDER: readonly string[] = Object.values(KIND_NAMES);

export function kindName(number: number): string {
  return KIND_NAMES[number] ?? `${number}`;
}

export interface PortLabel {
  readonly namespace: string;
  readonly name: string;
  /** Name of the port, or its number. */
  readonly port: string;
}

/** The parts of `Service namespace/name:port`. */
export function parsePortLabel(text: string): PortLabel | undefined {
  const [, namespace, name, port] = /^Service ([^/]+)\/(.+):([^:]*)$/.exec(text) ?? [];
  return namespace === undefined || name === undefined || port === undefined ? undefined : { namespace, name, port };
}

/** `namespace/name:port`. */
export function formatLabel({ namespace, name, port }: PortLabel): string {
  return namespace === '' ? name : `${namespace}/${name}:${port}`;
}

/** IPv4 before IPv6, then by number. */
export function compareIp(a: Ip, b: Ip): number {
  if (a === b) return 0;
  return familyOf(a) === familyOf(b) ? Buffer.compare(ipBytes(a), ipBytes(b)) : familyOf(a) < familyOf(b) ? -1 : 1;
}
