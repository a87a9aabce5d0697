/** The devices of the IPVS dataplane: that with the addresses of services, and the ends of tunnels. */
import type { Family } from '../core/net.js';
import type { Link } from '../core/network.js';
import type { Row } from '../core/plan.js';
import { writeSysctl } from '../host/sysctl.js';
import {
  addServiceDevice,
  changeServiceAddresses,
  followTunnelRules,
  followTunnels,
  TUNNEL_DEVICES,
} from '../ipvs/devices.js';
import type { Kernel } from '../ipvs/kernel.js';
import { tunnelEnds } from '../ipvs/node-rows.js';
import { serviceAddresses } from '../ipvs/wanted.js';

/** Brings the devices to what the rows ask for. Returns the kernel as it is then, and the number of changed addresses. */
export function syncDevices(
  kernel: Kernel,
  rows: ReadonlyMap<string, Row>,
  uplinks: readonly Link[],
): { kernel: Kernel; writes: number } {
  const addresses = serviceAddresses(rows);
  const add = [...addresses].filter((ip) => !kernel.addresses.has(ip));
  const remove = [...kernel.addresses].filter((ip) => !addresses.has(ip));
  if (!kernel.device) addServiceDevice();
  changeServiceAddresses(add, remove);
  const tables = [...rows.values()].map(({ table }) => table).filter((table) => /^(tunnelled|node_ports)/.test(table));
  const ends = tunnelEnds(uplinks, new Set<Family>(tables.map((table) => (table.endsWith('4') ? 'v4' : 'v6'))));
  if (JSON.stringify(ends) !== JSON.stringify(kernel.tunnels)) open(ends);
  return { kernel: { ...kernel, addresses, device: true, tunnels: ends }, writes: add.length + remove.length };
}

/** A client's packets arrive there and its answers leave by an uplink: the filter of reverse paths must be loose. */
function open(ends: Kernel['tunnels']): void {
  followTunnels(ends);
  followTunnelRules((['v4', 'v6'] as const).filter((family) => ends[family] !== undefined));
  if (ends.v4 !== undefined) writeSysctl(`net/ipv4/conf/${TUNNEL_DEVICES.v4}/rp_filter`, '2');
}
