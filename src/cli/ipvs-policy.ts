/** The policies of the IPVS dataplane, from nftables alone. */
import type { Ip } from '../core/net.js';
import { bindings, type Network } from '../core/network.js';
import { readPolicyTable } from '../ipvs/policy-kernel.js';
import { policyListing } from '../ipvs/policy-listing.js';
import type { SUBJECTS } from '../ipvs/policy-table.js';
import { bySlot, type IsolatedPod, ruleRows, type Slot } from './isolation.js';
import { readIpvs } from './ipvs-table.js';

const MAPS = {
  ingress: 'ingress',
  egress: 'egress',
  auditIngress: 'audit_ingress',
  auditEgress: 'audit_egress',
} as const satisfies Record<Slot, (typeof SUBJECTS)[number]>;

export interface NftPods {
  readonly pods: readonly IsolatedPod[];
  /** The device behind which each address lives, as far as the node knows. */
  readonly devices: (network: Network) => ReadonlyMap<string, string>;
}

/** Every pod of this node; undefined where the node's dataplane is not IPVS. */
export function readIpvsPods(bpfRoot: string): NftPods | undefined {
  if (!readIpvs(bpfRoot)) return undefined;
  const kernel = readPolicyTable();
  const listing = policyListing(kernel);
  const pods = [...listing.pods].map(([address, pod]): IsolatedPod => {
    const isolation = bySlot((slot) => {
      const program = listing.program(MAPS[slot], address);
      if (!program) return null;
      const { policies, action, rules } = program;
      return { policies, action, rules: ruleRows(rules) };
    });
    return { pod, address, ...isolation };
  });
  const inside = new Set([...kernel.rows.values()].filter(({ table }) => table === 'inside').map(({ key }) => key));
  return { pods, devices: (network) => devicesOf(network, inside, listing.pods.keys()) };
}

/** `inside` names the pods' devices, and the bridges that have some of them as ports. */
function devicesOf(network: Network, inside: ReadonlySet<string>, addresses: Iterable<Ip>): Map<string, string> {
  const links = network.links.filter(({ name }) => inside.has(name));
  const masters = new Set(links.map(({ master }) => master));
  const pods = links.filter(({ name }) => !masters.has(name));
  return new Map([...bindings(network, pods, addresses)].map(([ip, { name }]) => [ip, name]));
}
