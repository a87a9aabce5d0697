/** Which dataplanes there are on this node, whether an agent runs or not: told by what they leave, pins and a state file. */
import { WeirError } from '../errors.js';
import { networkNamespace, readState, stateDirectory } from '../ipvs/state-file.js';
import type { MapLayout } from '../maps/codec.js';
import { type Config, MAPS, STAGE } from '../maps/layout.js';
import { openTable } from '../maps/table.js';

/** undefined where no BPF dataplane is installed, or one that no agent has finished to install. */
export function readConfig(root: string): Config | undefined {
  try {
    using table = openTable(root, MAPS.weir_config);
    const config = table.get(0);
    return config?.dataplane === 0 ? undefined : config;
  } catch (error) {
    if (error instanceof WeirError && error.code === 'WEIR_NOT_INSTALLED') return undefined;
    throw error;
  }
}

/** Whether the BPF dataplane serves this network namespace. */
export function hasBpf(root: string): boolean {
  return readConfig(root)?.netns === BigInt(networkNamespace());
}

/** Whether the IPVS dataplane serves this network namespace. */
export function hasIpvs(root: string): boolean {
  return readState(stateDirectory(root))?.netns === networkNamespace();
}

/** The dataplane that has what is new; undefined where there is none. While one takes over from the other both are there. */
export function modeOf(root: string): 'bpf' | 'ipvs' | undefined {
  const config = readConfig(root);
  if (!readState(stateDirectory(root))) return config ? 'bpf' : undefined;
  return config && config.stage !== STAGE.LEAVING ? 'bpf' : 'ipvs';
}

/** Sizes of the flow tables as they are pinned. */
export function flowEntriesOf(root: string): { v4: number; v6: number } {
  return { v4: capacityOf(root, MAPS.weir_flows4), v6: capacityOf(root, MAPS.weir_flows6) };
}

export function capacityOf<K, V>(root: string, layout: MapLayout<K, V>): number {
  using table = openTable(root, layout);
  return table.maxEntries;
}
