/** Runs the programs that speak for IPVS, nftables and devices. */
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
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

/**
 * What the program says. Throws WEIR_TOOL, with the package where it is missing, where it takes longer than `limit` ms, else with
 * what it complains of.
 */
export function runTool(program: string, args: readonly string[], input?: string, limit?: number): string {
  const { status, stdout, complaint } = run(program, args, input, limit);
  if (status !== 0) throw new WeirError('WEIR_TOOL', `run ${[program, ...args].join(' ')}: ${complaint}`);
  return stdout;
}

/** What a program complains of that goes on after a command that fails; '' where it does not. Throws WEIR_TOOL where it cannot be run. */
export function complaintOf(program: string, args: readonly string[], input: string): string {
  return run(program, args, input).complaint;
}

/** The same, while other work goes on. */
export async function runToolLater(program: string, args: readonly string[]): Promise<string> {
  try {
    return (await promisify(execFile)(program, args, { encoding: 'utf8', maxBuffer: MAX_OUTPUT })).stdout;
  } catch (error) {
    throw new WeirError('WEIR_TOOL', `run ${[program, ...args].join(' ')}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function run(
  program: string,
  args: readonly string[],
  input: string | undefined,
  limit?: number,
): { status: number | null; stdout: string; complaint: string } {
  const { error, status, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    maxBuffer: MAX_OUTPUT,
    ...(limit === undefined ? {} : { timeout: limit }),
    ...(input === undefined ? {} : { input }),
  });
  const command = [program, ...args].join(' ');
  if (error && (error as NodeJS.ErrnoException).code === 'ENOENT')
    throw new WeirError('WEIR_TOOL', `run ${command}: not found (package ${PACKAGES[program] ?? program})`);
  if (error) throw new WeirError('WEIR_TOOL', `run ${command}: ${error.message}`, { cause: error });
  const lines = [...new Set(stderr.trim().split('\n'))].slice(0, COMPLAINTS).join('; ');
  return { status, stdout, complaint: lines || (status === 0 ? '' : `exit status ${status}`) };
}

/** Bytes. */
const MAX_OUTPUT = 1 << 28;
/** Of a program's lines. */
const COMPLAINTS = 3;
