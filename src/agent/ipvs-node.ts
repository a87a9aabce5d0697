/** What of the node's devices and of the cluster's nodes matters to the IPVS dataplane, told apart from what comes and goes. Pure. */
import { onLinkPrefixes } from '../core/network.js';
import type { NodeView } from '../ipvs/placement.js';
import type { NodeAddresses } from '../ipvs/wanted.js';
import type { NodeFacts } from './plane.js';

/** Tells which of what is wanted a change of the node concerns: a pod's device that comes, no placement of services. */
export class NodeInputs {
  #placement = '';
  #rows = '';

  /** Whether services are to be placed anew, and whether other rows are wanted for the same placement, since the last call. */
  follow({ network, roles, sources, cluster }: NodeFacts, view: NodeView, nodes: NodeAddresses): NodeChange {
    const links = [...roles.uplinks, ...roles.pods, ...roles.bridges];
    const placement = JSON.stringify([[...view.own].sort(), onLinkPrefixes(network, roles.uplinks), nodes]);
    const rows = JSON.stringify([links.map(({ name, mtu, master }) => [name, mtu, master]), sources, cluster]);
    const change = { placement: placement !== this.#placement, rows: rows !== this.#rows };
    this.#placement = placement;
    this.#rows = rows;
    return change;
  }
}

interface NodeChange {
  readonly placement: boolean;
  readonly rows: boolean;
}

/** Another text where somebody has been at links or addresses, ours included. */
export function linksOf({ network }: NodeFacts): string {
  return JSON.stringify(network.links.map(({ name, up, addresses }) => [name, up, addresses.map(({ ip }) => ip)]));
}
