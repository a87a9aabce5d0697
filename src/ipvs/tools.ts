/** Runs the programs that speak for IPVS, nftables and devices. */
import { spawnSync } from 'node:child_process';
import { WeirError } from '../errors.js';

/** Debian's package by program. */
export const PACKAGES: Readonly<Record<string, string>> = { ipvsadm: 'ipvsadm', nft: 'nftables', ip: 'iproute2' };

/** What the program says. Throws WEIR_TOOL, with the package where it is missing, else with what it complains of. */
export function runTool(program: string, args: readonly string[], input?: string): string {
  const { error, status, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    ...(input === undefined ? {} : { input }),
  });
  const command = [program, ...args].join(' ');
  if (error && (error as NodeJS.ErrnoException).code === 'ENOENT')
    throw new WeirError('WEIR_TOOL', `run ${command}: not found (package ${PACKAGES[program] ?? program})`);
  if (error || status !== 0) {
    const why = stderr?.trim().split('\n').slice(0, 3).join('; ') || (error?.message ?? `exit status ${status}`);
    throw new WeirError('WEIR_TOOL', `run ${command}: ${why}`, { cause: error });
  }
  return stdout;
}
