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
  readServiceAddresses,
  TUNNEL_DEVICES,
} from '../ipvs/devices.js';
import type { Kernel } from '../ipvs/kernel.js';
import { tunnelEnds } from '../ipvs/node-rows.js';
import { serviceAddresses } from '../ipvs/wanted.js';

interface Synced {
  /** As it is then. */
  readonly kernel: Kernel;
  /** Number of changed addresses. */
  readonly writes: number;
  /** What ip complains of; ''. */
  readonly complaint: string;
}

/** Brings the devices to what the rows ask for, as far as the device can have the addresses. */
export function syncDevices(kernel: Kernel, rows: ReadonlyMap<string, Row>, uplinks: readonly Link[]): Synced {
  const addresses = serviceAddresses(rows);
  const add = [...addresses].filter((ip) => !kernel.addresses.has(ip));
  const remove = [...kernel.addresses].filter((ip) => !addresses.has(ip));
  if (!kernel.device) addServiceDevice();
  const complaint = changeServiceAddresses(add, remove);
  const tables = [...rows.values()].map(({ table }) => table).filter((table) => /^(tunnelled|node_ports)/.test(table));
  const ends = tunnelEnds(uplinks, new Set<Family>(tables.map((table) => (table.endsWith('4') ? 'v4' : 'v6'))));
  if (JSON.stringify(ends) !== JSON.stringify(kernel.tunnels)) open(ends);
  const bound = complaint === '' ? addresses : (readServiceAddresses() ?? new Set());
  return {
    kernel: { ...kernel, addresses: bound, device: true, tunnels: ends },
    writes: complaint === '' ? add.length + remove.length : [...bound].filter((ip) => !kernel.addresses.has(ip)).length,
    complaint,
  };
}

/** A client's packets arrive there and its answers leave by an uplink: the filter of reverse paths must be loose. */
function open(ends: Kernel['tunnels']): void {
  followTunnels(ends);
  followTunnelRules((['v4', 'v6'] as const).filter((family) => ends[family] !== undefined));
  if (ends.v4 !== undefined) writeSysctl(`net/ipv4/conf/${TUNNEL_DEVICES.v4}/rp_filter`, '2');
}
