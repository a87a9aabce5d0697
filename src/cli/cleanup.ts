/** `weir cleanup`: removes what Weir owns on this node, and nothing else. */
import { existsSync } from 'node:fs';
import { describeError, WeirError } from '../errors.js';
import { readState, stateDirectory } from '../ipvs/state-file.js';
import { lockHolder, lockRoot } from '../loader/pins.js';
import { defineCommand, type ExitCode } from './command.js';
import { BPF_ROOT } from './common-flags.js';
import type { Context } from './context.js';
import { flag } from './flags.js';
import { ipvsRemoval } from '../agent/ipvs-removal.js';
import { namespaceOf, visiting } from './namespace.js';
import { bool } from './parse.js';
import { type Removal, removalOf, removeFilters, type Step } from '../agent/removal.js';

const PAST: Readonly<Record<Step['verb'], string>> = { remove: 'removed', restore: 'restored' };

export const cleanupCommand = defineCommand({
  path: 'cleanup',
  summary: 'remove the programs, pins and settings of Weir from this node; connections through services end',
  flags: {
    dryRun: flag('--dry-run [BOOL]', 'only print what would be removed', bool, 'false', 'true'),
    all: flag(
      '--all [BOOL]',
      'also programs on devices that nothing below --bpf-root accounts for',
      bool,
      'false',
      'true',
    ),
    bpfRoot: BPF_ROOT,
  },
  exits: { 0: 'nothing of Weir is left, or --dry-run', 1: 'an agent is running, or something could not be removed' },
  run: ({ bpfRoot, dryRun, all }, context): ExitCode => {
    const state = stateDirectory(bpfRoot);
    if (readState(state)) {
      const lock = lockForCleanup(state);
      try {
        const code = finish(ipvsRemoval(state), state, dryRun, context);
        if (code !== 0 || !existsSync(bpfRoot)) return code;
      } finally {
        lock[Symbol.dispose]();
      }
    }
    if (!existsSync(bpfRoot)) return cleanStray(bpfRoot, all, dryRun, context);
    const lock = lockForCleanup(bpfRoot);
    try {
      return cleanRoot(bpfRoot, dryRun, context);
    } finally {
      lock[Symbol.dispose]();
    }
  },
});

function cleanRoot(bpfRoot: string, dryRun: boolean, context: Context): ExitCode {
  const namespace = namespaceOf(bpfRoot);
  if (namespace === 'here' || namespace === 'gone') {
    return finish(removalOf(bpfRoot, namespace), bpfRoot, dryRun, context);
  }
  context.stdout.write(`in the network namespace ${namespace}:\n`);
  return visiting(namespace, () => finish(removalOf(bpfRoot, 'here'), bpfRoot, dryRun, context));
}

/** Without a directory there is nothing to tell a lost dataplane's programs from those of another --bpf-root. */
function cleanStray(root: string, all: boolean, dryRun: boolean, context: Context): ExitCode {
  const strays = removeFilters();
  if (all) return finish({ steps: strays, notes: [] }, root, dryRun, context);
  const why = `nothing below ${root} accounts for it; give the --bpf-root of its agent, or --all`;
  return finish({ steps: [], notes: strays.map(({ what }) => `leave ${what}: ${why}`) }, root, dryRun, context);
}

function lockForCleanup(root: string): Disposable {
  try {
    return lockRoot(root);
  } catch (error) {
    if (!(error instanceof WeirError) || error.code !== 'WEIR_ALREADY_RUNNING') throw error;
    const who = `the agent${describePid(lockHolder(root))}`;
    throw new Error(`clean up ${root}: ${who} uses it: stop it first`, { cause: error });
  }
}

function describePid(pid: number | undefined): string {
  return pid === undefined ? '' : ` with pid ${pid}`;
}

function finish({ steps, notes }: Removal, root: string, dryRun: boolean, { stdout, stderr }: Context): ExitCode {
  let code: ExitCode = 0;
  for (const step of steps) {
    const { verb, what } = step;
    if (code === 1 && step.last) {
      stderr.write(`weir: leave the pins below ${root}: they account for what could not be removed\n`);
      break;
    }
    try {
      if (!dryRun) step.carryOut();
      stdout.write(dryRun ? `would ${verb} ${what}\n` : `${PAST[verb]} ${what}\n`);
    } catch (error) {
      stderr.write(`weir: ${verb} ${what}: ${describeError(error)}\n`);
      code = 1;
    }
  }
  for (const note of notes) stdout.write(`${note}\n`);
  if (steps.length === 0) stdout.write(`nothing to remove below ${root}\n`);
  return code;
}
