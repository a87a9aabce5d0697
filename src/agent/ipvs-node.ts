/** What of the node's devices and of the cluster's nodes matters to the IPVS dataplane, told apart from what comes and goes. Pure. */
import { onLinkPrefixes } from '../core/network.js';
import type { NodeView } from '../ipvs/placement.js';
import type { NodeAddresses } from '../ipvs/wanted.js';
import type { NodeFacts } from './plane.js';

/** All that what is wanted depends on besides the services themselves: the same text, the same rows. */
export function fingerprintOf(facts: NodeFacts, view: NodeView, nodes: NodeAddresses): string {
  const { network, roles, sources, cluster } = facts;
  const devices = [...roles.uplinks, ...roles.pods, ...roles.bridges].map(({ name, mtu, master }) => [
    name,
    mtu,
    master,
  ]);
  const addresses = [[...view.own].sort(), onLinkPrefixes(network, roles.uplinks), nodes];
  return JSON.stringify([devices, addresses, sources, cluster]);
}

/** Another text where somebody has been at links or addresses, ours included. */
export function linksOf({ network }: NodeFacts): string {
  return JSON.stringify(network.links.map(({ name, up, addresses }) => [name, up, addresses.map(({ ip }) => ip)]));
}
