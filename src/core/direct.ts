/** DSR on one link (dsr-l2): which frontends it can serve, and what stands in its way. */
import type { DesiredBackend, DesiredFrontend, FrontendKind } from './desired.js';
import type { Forwarding, Problem } from './model.js';
import { formatSocket, type Prefix, prefixContains } from './net.js';

/**
 * The forwarding of one frontend. A ClusterIP is always translated. A backend that gets packets on its link as they are must own
 * the frontend's address and port: no backend owns a node's address, and none may listen on another port.
 */
export function directForwarding(
  kind: FrontendKind,
  wanted: Forwarding,
  port: number,
  backends: readonly { readonly port: number }[],
): Forwarding {
  if (kind === 'ClusterIP') return 'nat';
  if (wanted !== 'dsr-l2') return wanted;
  return kind === 'NodePort' || backends.some((backend) => backend.port !== port) ? 'nat' : 'dsr-l2';
}

/** What keeps a port from being served by dsr-l2, as its owner is told. */
export function checkDirect(
  label: string,
  port: number,
  frontends: readonly DesiredFrontend[],
  backends: readonly DesiredBackend[],
  onLink: readonly Prefix[],
): Problem[] {
  const owned = frontends.filter(({ kind }) => kind === 'ExternalIP' || kind === 'LoadBalancer');
  if (owned.length === 0) return [];
  const problem = (field: string, message: string): Problem => ({ object: label, field, message });
  if (backends.some((backend) => backend.port !== port)) {
    return [problem('spec.ports.targetPort', `must be ${port}, as the port is, for dsr-l2: using nat`)];
  }
  const far = backends.filter(
    ({ local, address }) => !local && !onLink.some((prefix) => prefixContains(prefix, address)),
  );
  if (far.length === 0) return [];
  const names = far.slice(0, 3).map(({ address }) => formatSocket(address, port));
  const more = far.length > 3 ? ` and ${far.length - 3} more` : '';
  return [problem('endpoints', `${names.join()}${more}: no link of an uplink has them, as dsr-l2 needs: unreachable`)];
}
