/**
 * What IPVS and nftables do not keep of what an agent must know at its next start, and the reading commands without it: names
 * of services, deadlines, settings as they were. Below /run, because the kernel's tables end with the same boot.
 */
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DesiredService } from '../core/desired.js';
import type { Ip } from '../core/net.js';
import type { ChainDigests } from './chains.js';
import { addressesOf } from './wanted.js';

export interface IpvsState {
  readonly pid: number;
  readonly synced: boolean;
  readonly generation: number;
  /** ms since 1970. */
  readonly lastSync: number;
  readonly services: readonly DesiredService[];
  /** Addresses at which another program has virtual servers. */
  readonly taken: readonly Ip[];
  /** ms since 1970, by `virtual server real server`. */
  readonly deadlines: Readonly<Record<string, number>>;
  /** Addresses by name of the node. */
  readonly nodes: Readonly<Record<string, readonly Ip[]>>;
  /** Settings that were changed, by path: as they were before the first agent, and as it has set them. */
  readonly sysctls: Readonly<Record<string, { readonly before: string; readonly value: string }>>;
  /** By table of nftables and by chain, as they were left. */
  readonly chains: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Inode of the network namespace that all this is about. */
  readonly netns: number;
  /** ms since 1970: until when the BPF dataplane, from which this one takes over, goes on at the latest; 0: it does not. */
  readonly takeoverUntil: number;
}

const EMPTY: IpvsState = {
  ...{ pid: 0, synced: false, generation: 0, lastSync: 0 },
  ...{ services: [], taken: [], deadlines: {}, nodes: {}, sysctls: {}, chains: {}, netns: 0, takeoverUntil: 0 },
};

/** The directory for a --bpf-root: one each, so that agents in several network namespaces have their own. */
export function stateDirectory(bpfRoot: string): string {
  return join('/run/weir', bpfRoot.replace(/^\/+|\/+$/g, '').replaceAll('/', '-'));
}

/** Creates the directory. */
export function ensureStateDirectory(bpfRoot: string): string {
  const directory = stateDirectory(bpfRoot);
  mkdirSync(directory, { recursive: true });
  return directory;
}

/** What was written last; undefined where nothing was, or nothing that can be read. */
export function readState(directory: string): IpvsState | undefined {
  try {
    return { ...EMPTY, ...(JSON.parse(readFileSync(join(directory, 'ipvs.json'), 'utf8')) as Partial<IpvsState>) };
  } catch {
    return undefined;
  }
}

/** What the agent meant to serve, whether it came to that or not: virtual servers at these addresses are ours. */
export function claimedAddresses(state: IpvsState | undefined): Set<Ip> {
  const { services, taken } = state ?? EMPTY;
  const others = new Set(taken);
  return new Set(services.flatMap(addressesOf).filter((address) => !others.has(address)));
}

/** The chains of a table as they were left. */
export function chainsIn(state: IpvsState | undefined, table: string): ChainDigests {
  return new Map(Object.entries(state?.chains[table] ?? {}));
}

export function networkNamespace(): number {
  return statSync('/proc/self/ns/net').ino;
}

export function writeState(directory: string, state: IpvsState): void {
  const path = join(directory, 'ipvs.json');
  writeFileSync(`${path}.tmp`, JSON.stringify(state));
  renameSync(`${path}.tmp`, path);
}
