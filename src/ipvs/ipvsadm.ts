/** The virtual servers of this network namespace. */
import { WeirError } from '../errors.js';
import { parseSaved } from './ipvsadm-text.js';
import { runTool } from './tools.js';
import type { VirtualServer } from './virtual.js';

/** All, ours or not. Throws WEIR_KERNEL_MODULE where the kernel has no IPVS, WEIR_TOOL where ipvsadm is missing. */
export function readVirtualServers(): Map<string, VirtualServer> {
  try {
    return parseSaved(runTool('ipvsadm', ['--save', '-n']));
  } catch (error) {
    if (error instanceof WeirError && /Can't initialize ipvs|Protocol not available/.test(error.message))
      throw new WeirError('WEIR_KERNEL_MODULE', 'use IPVS: the kernel module ip_vs is not there', { cause: error });
    throw error;
  }
}

/** One process for all; stops at the first command that fails. */
export function runCommands(commands: readonly string[]): void {
  if (commands.length > 0) runTool('ipvsadm', ['--restore'], `${commands.join('\n')}\n`);
}
