/** Who is meant by a pod's name or an address, as the other end of a packet sees it. */
import type { Node } from '../model.js';
import { familyOf, type Ip } from '../net.js';
import type { Cluster, Party } from './evaluate.js';
import { isPeer } from './pods.js';

/** A pod by `ns/name`: one party for each of its addresses; one without an address where it has none yet. */
export function podParties(cluster: Cluster, key: string): Party[] | undefined {
  const pod = cluster.pods.get(key);
  if (!pod) return undefined;
  const addresses: readonly (Ip | undefined)[] = pod.addresses.length > 0 ? pod.addresses : [undefined];
  const own = !pod.hostNetwork && !pod.finished;
  return addresses.map((ip) => ({ ip, pod: own ? pod : undefined, node: pod.hostNetwork ? pod.nodeName : '' }));
}

/** The pod that has an address, else the node, else somebody out there. */
export function addressParty(cluster: Cluster, nodes: ReadonlyMap<string, Node>, ip: Ip): Party {
  let holder: { key: string; created: number } | undefined;
  for (const [key, pod] of cluster.pods) {
    if (!isPeer(pod) || !pod.addresses.includes(ip)) continue;
    const younger = holder === undefined || pod.created > holder.created;
    if (younger || (pod.created === holder?.created && key < holder.key)) holder = { key, created: pod.created };
  }
  const node = [...nodes.values()].find((each) => each.addresses.includes(ip));
  return { ip, pod: holder && cluster.pods.get(holder.key), node: holder ? '' : (node?.name ?? '') };
}

/** The pairs that can talk: of one family, or where an address is not known. */
export function pairs(from: readonly Party[], to: readonly Party[]): [Party, Party][] {
  return from.flatMap((one) =>
    to
      .filter((other) => !one.ip || !other.ip || familyOf(one.ip) === familyOf(other.ip))
      .map((other): [Party, Party] => [one, other]),
  );
}

/** `ns/name` of a pod, else the address. */
export function partyName({ ip, pod }: Party): string {
  return pod ? `${pod.namespace}/${pod.name}` : (ip ?? 'unknown');
}
