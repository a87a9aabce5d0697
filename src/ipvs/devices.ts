/** The devices that are ours: weir-ipvs0, which has the addresses of services, and those that open tunnels. */
import type { Family, Ip } from '../core/net.js';
import { familyOf, parseIp } from '../core/net.js';
import { SERVICE_DEVICE } from '../core/network.js';
import { FIRST_MARK, MARK_MASK } from './marks.js';
import { complaintOf, needingModules, runTool } from './tools.js';

export const TUNNEL_DEVICES: Readonly<Record<Family, string>> = { v4: 'weir-ipip0', v6: 'weir-ip6ip0' };

/** What ip says where the kernel cannot make a device. */
const UNKNOWN_KIND = /Unknown device type|not supported/;
/** Our table of routes, and the place of the rule that leads there: before `main`. */
const TUNNEL_TABLE = 0x5757;
const FAMILY_FLAG: Readonly<Record<Family, string>> = { v4: '-4', v6: '-6' };

interface Listed {
  readonly ifname: string;
  readonly addr_info: readonly { readonly local?: string }[];
}

/** Addresses of weir-ipvs0; undefined where it is not there. */
export function readServiceAddresses(): Set<Ip> | undefined {
  const links = JSON.parse(runTool('ip', ['-j', 'addr', 'show'])) as readonly Listed[];
  const device = links.find(({ ifname }) => ifname === SERVICE_DEVICE);
  if (!device) return undefined;
  return new Set(device.addr_info.flatMap(({ local = '' }) => parseIp(local) ?? []));
}

/** Throws WEIR_KERNEL_MODULE. */
export function addServiceDevice(): void {
  const change = `link set ${SERVICE_DEVICE}`;
  needingModules(['dummy'], UNKNOWN_KIND, () =>
    batch([`link add ${SERVICE_DEVICE} type dummy`, `${change} addrgenmode none`, `${change} up`]),
  );
}

/**
 * A packet for such an address is for this node. Nobody is asked whether the address is taken: every node has it. One that the device
 * cannot have (IPv6 is disabled) keeps no other from it: what ip complains of is returned, '' where that is nothing.
 */
export function changeServiceAddresses(add: readonly Ip[], remove: readonly Ip[]): string {
  const whole = (ip: Ip): string => (familyOf(ip) === 'v4' ? `${ip}/32` : `${ip}/128`);
  const fresh = (ip: Ip): string => `${whole(ip)} dev ${SERVICE_DEVICE}${familyOf(ip) === 'v6' ? ' nodad' : ''}`;
  const lines = [
    ...add.map((ip) => `addr add ${fresh(ip)}`),
    ...remove.map((ip) => `addr del ${whole(ip)} dev ${SERVICE_DEVICE}`),
  ];
  return lines.length === 0 ? '' : complaintOf('ip', ['-force', '-batch', '-'], `${lines.join('\n')}\n`);
}

/** Opens tunnels that lead to these addresses of the node; a device that leads to another is made anew. Throws WEIR_KERNEL_MODULE. */
export function followTunnels(ends: Readonly<Partial<Record<Family, Ip>>>): void {
  const links = JSON.parse(runTool('ip', ['-j', 'link', 'show'])) as readonly {
    readonly ifname: string;
    readonly address?: string;
  }[];
  const lines = (['v4', 'v6'] as const).flatMap((family) => {
    const name = TUNNEL_DEVICES[family];
    const known = links.find(({ ifname }) => ifname === name);
    const end = ends[family];
    if (known?.address === end) return [];
    const kind = family === 'v4' ? 'ipip' : 'ip6tnl mode ip6ip6';
    const fresh = [
      `link add ${name} type ${kind} local ${end}`,
      `link set ${name} addrgenmode none`,
      /* even a loose rp_filter drops what arrives on a device without an address */
      ...(family === 'v4' ? [`addr add ${end}/32 dev ${name} scope host`] : []),
      `link set ${name} up`,
    ];
    return [...(known ? [`link del ${name}`] : []), ...(end === undefined ? [] : fresh)];
  });
  needingModules(['ipip', 'ip6_tunnel'], UNKNOWN_KIND, () => batch(lines));
}

/** Names of those of our devices that are there. */
export function ourDevices(): string[] {
  const links = JSON.parse(runTool('ip', ['-j', 'link', 'show'])) as readonly { readonly ifname: string }[];
  const ours = [SERVICE_DEVICE, ...Object.values(TUNNEL_DEVICES)];
  return links.map(({ ifname }) => ifname).filter((name) => ours.includes(name));
}

export function removeDevice(name: string): void {
  batch([`link del ${name}`]);
}

/**
 * What comes out of a tunnel and bears one of our marks is for this node, whatever address it names: a node port names that of
 * the node which was asked. Returns the number of rules made.
 */
export function followTunnelRules(families: readonly Family[]): number {
  const missing = families.filter((family) => !hasTunnelRule(family));
  for (const family of missing) {
    const whole = family === 'v4' ? '0.0.0.0/0' : '::/0';
    const marked = `fwmark ${FIRST_MARK}/${MARK_MASK} iif ${TUNNEL_DEVICES[family]}`;
    batch(
      [
        `route replace local ${whole} dev lo table ${TUNNEL_TABLE}`,
        `rule add pref ${TUNNEL_TABLE} ${marked} lookup ${TUNNEL_TABLE}`,
      ],
      family,
    );
  }
  return missing.length;
}

export function hasTunnelRule(family: Family): boolean {
  const rules = JSON.parse(runTool('ip', [FAMILY_FLAG[family], '-j', 'rule', 'show'])) as readonly {
    readonly priority: number;
    readonly table?: string;
  }[];
  return rules.some(({ priority, table }) => priority === TUNNEL_TABLE && table === `${TUNNEL_TABLE}`);
}

export function removeTunnelRule(family: Family): void {
  batch([`rule del pref ${TUNNEL_TABLE}`, `route flush table ${TUNNEL_TABLE}`], family);
}

function batch(lines: readonly string[], family?: Family): void {
  const flags = family ? [FAMILY_FLAG[family]] : [];
  if (lines.length > 0) runTool('ip', [...flags, '-batch', '-'], `${lines.join('\n')}\n`);
}
