/** Whose an address is in the IPVS dataplane, as far as the files of the state directory tell. */
import { networkInterfaces } from 'node:os';
import type { Ip } from '../core/net.js';
import { SERVICE_DEVICE } from '../core/network.js';
import { readPodNames } from '../ipvs/pod-names.js';
import { type IpvsState, stateDirectory } from '../ipvs/state-file.js';

/** `ns/name` of a pod, `Node name`, `Service ns/name`; '' for an address that nobody knows. `own`: the pods of this node. */
export function ipvsDirectory(root: string, state: IpvsState, own: ReadonlyMap<Ip, string>): (ip: Ip) => string {
  const pods = readPodNames(stateDirectory(root));
  const others = othersOf(state);
  return (ip) => own.get(ip) ?? pods.get(ip) ?? others.get(ip) ?? '';
}

/** What is said first counts. */
function othersOf({ nodes, services }: IpvsState): Map<Ip, string> {
  const found = new Map<Ip, string>();
  const name = (ip: Ip, text: string): void => {
    if (!found.has(ip)) found.set(ip, text);
  };
  for (const [node, addresses] of Object.entries(nodes)) for (const ip of addresses) name(ip, `Node ${node}`);
  for (const [device, addresses = []] of Object.entries(networkInterfaces()))
    if (device !== SERVICE_DEVICE) for (const { address } of addresses) name(address as Ip, 'this node');
  for (const { key, ports } of services)
    for (const { backends } of ports) for (const { address } of backends) name(address, `backend of ${key}`);
  for (const { key, ports } of services)
    for (const { frontends } of ports) for (const { address } of frontends) name(address, `Service ${key}`);
  return found;
}
