/** The virtual servers of this network namespace. */
import { parseSaved } from './ipvsadm-text.js';
import { needingModules, runTool } from './tools.js';
import type { VirtualServer } from './virtual.js';

/** All, ours or not. Throws WEIR_KERNEL_MODULE where the kernel has no IPVS, WEIR_TOOL where ipvsadm is missing. */
export function readVirtualServers(): Map<string, VirtualServer> {
  const absent = /Can't initialize ipvs|Protocol not available/;
  return needingModules(['ip_vs'], absent, () => parseSaved(runTool('ipvsadm', ['--save', '-n'])));
}

/** One process for all; stops at the first command that fails. Throws WEIR_KERNEL_MODULE where a scheduler is missing. */
export function runCommands(commands: readonly string[]): void {
  if (commands.length === 0) return;
  const schedulers = commands.flatMap((command) => / -s (\w+)/.exec(command)?.[1] ?? []);
  needingModules(
    [...new Set(schedulers)].map((name) => `ip_vs_${name}`),
    /scheduler/i,
    () => runTool('ipvsadm', ['--restore'], `${commands.join('\n')}\n`),
  );
}
