/** The virtual servers of this network namespace. */
import { WeirError } from '../errors.js';
import { parseSaved } from './ipvsadm-text.js';
import { complaintOf, needingModules, runTool } from './tools.js';
import type { VirtualServer } from './virtual.js';

/** All, ours or not. Throws WEIR_KERNEL_MODULE where the kernel has no IPVS, WEIR_TOOL where ipvsadm is missing. */
export function readVirtualServers(): Map<string, VirtualServer> {
  const absent = /Can't initialize ipvs|Protocol not available/;
  return needingModules(['ip_vs'], absent, () => parseSaved(runTool('ipvsadm', ['--save', '-n'])));
}

/**
 * One process for all. It goes on after a command that fails, and its exit status is that of the last one: what it complains of is
 * returned, '' where that is nothing. Throws WEIR_TOOL where it cannot be run.
 */
export function runCommands(commands: readonly string[]): string {
  return commands.length === 0 ? '' : complaintOf('ipvsadm', ['--restore'], `${commands.join('\n')}\n`);
}

/** Throws WEIR_TOOL. */
export function removeVirtualServer(key: string): void {
  const complaint = runCommands([`-D ${key}`]);
  if (complaint !== '') throw new WeirError('WEIR_TOOL', `remove virtual server ${key}: ${complaint}`);
}
