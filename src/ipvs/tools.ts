/** Runs the programs that speak for IPVS, nftables and devices. */
import { spawnSync } from 'node:child_process';
import { WeirError } from '../errors.js';

/** Debian's package by program. */
export const PACKAGES: Readonly<Record<string, string>> = { ipvsadm: 'ipvsadm', nft: 'nftables', ip: 'iproute2' };

/** The same, where `pattern` in what the program complains of means that these modules of the kernel are missing. */
export function needingModules<T>(modules: readonly string[], pattern: RegExp, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof WeirError && pattern.test(error.message))) throw error;
    const names = `${modules.length > 1 ? 'one of the kernel modules' : 'the kernel module'} ${modules.join(', ')}`;
    throw new WeirError('WEIR_KERNEL_MODULE', `use IPVS: ${names} is not there`, { cause: error });
  }
}

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
