/** What the kernel has of ours: the truth from which every difference is told. */
import type { Family, Ip } from '../core/net.js';
import type { Row } from '../core/plan.js';
import { WeirError } from '../errors.js';
import type { ChainDigests } from './chains.js';
import { readServiceAddresses } from './devices.js';
import { readVirtualServers } from './ipvsadm.js';
import { isOurMark, markName, Marks } from './marks.js';
import { parseTable, readTable } from './nft.js';
import { VARIANTS } from './placement.js';
import type { VirtualServer } from './virtual.js';

export interface Kernel {
  /** Ours and others'. */
  readonly servers: ReadonlyMap<string, VirtualServer>;
  /** Elements of the table `weir`. */
  readonly rows: ReadonlyMap<string, Row>;
  /** Which chains the table has; '' where there is no table. */
  readonly version: string;
  readonly chains: ChainDigests;
  /** Addresses of weir-ipvs0, by which virtual servers are told to be ours. */
  readonly addresses: ReadonlySet<Ip>;
  /** Whether there is such a device. */
  readonly device: boolean;
  /** Where our tunnel devices end, as far as this process has made them. */
  readonly tunnels: Readonly<Partial<Record<Family, Ip>>>;
}

/** Looks, and changes nothing. Whoever serves nothing (`proxy`) needs no IPVS in the kernel. */
export function readKernel(proxy = true): Kernel {
  const servers = proxy ? readVirtualServers() : virtualServersIfAny();
  const table = readTable();
  const { rows, names, chains } = parseTable(table ?? '{"nftables":[]}');
  const addresses = readServiceAddresses();
  const version = [...names].find((name) => name.startsWith('version_')) ?? '';
  const device = { addresses: addresses ?? new Set<Ip>(), device: addresses !== undefined };
  return { servers, rows, version, chains, ...device, tunnels: {} };
}

function virtualServersIfAny(): Map<string, VirtualServer> {
  try {
    return readVirtualServers();
  } catch (error) {
    if (error instanceof WeirError) return new Map();
    throw error;
  }
}

/**
 * Virtual servers that are ours: of an address on weir-ipvs0 or of one that is claimed, or with a mark from our range. Others'
 * are neither changed nor removed, whoever made them.
 */
export function ownServers(
  { servers, addresses }: Pick<Kernel, 'servers' | 'addresses'>,
  claimed: ReadonlySet<Ip>,
): Map<string, VirtualServer> {
  const ours = ({ match }: VirtualServer): boolean =>
    match.kind === 'mark' ? isOurMark(match.mark) : addresses.has(match.address) || claimed.has(match.address);
  return new Map([...servers].filter(([, server]) => ours(server)));
}

/** Addresses at which others have virtual servers: one on weir-ipvs0 would make theirs look like ours. */
export function takenAddresses(kernel: Pick<Kernel, 'servers' | 'addresses'>, claimed: ReadonlySet<Ip>): Set<Ip> {
  const ours = ownServers(kernel, claimed);
  const others = [...kernel.servers].filter(([key]) => !ours.has(key));
  return new Set(others.flatMap(([, { match }]) => (match.kind === 'address' ? [match.address] : [])));
}

/** The marks as they are in force. */
export function adoptedMarks({ rows }: Kernel): Marks {
  const marks = new Marks();
  for (const { table, key, value } of rows.values()) {
    const variant = VARIANTS.find((name) => table === `${name}4` || table === `${name}6`);
    if (variant) marks.adopt(markName(variant, key), Number(value));
  }
  return marks;
}
