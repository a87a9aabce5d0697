/** What the agent that holds a directory was told: `weir diff` must not need its flags repeated. */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { Command } from 'commander';
import { stateDirectory } from '../ipvs/state-file.js';
import { isLocked, lockHolder } from '../loader/pins.js';
import { AGENT_FLAGS, STATE_FLAGS } from './agent-flags.js';
import { givenFlags } from './command.js';
import { addFlags, type Values } from './flags.js';

type StateValues = Values<typeof STATE_FLAGS>;
/** Where the objects come from is said by who asks, and so is the directory. */
const NOT_TAKEN: readonly string[] = ['manifests', 'kubeconfig', 'bpfRoot'];

/** The flags of the running agent that decide what should be in the kernel, as far as they were given; none without agent. */
export function runningAgentFlags(root: string): Partial<StateValues> {
  const held = [root, stateDirectory(root)].find(isLocked);
  const argv = held === undefined ? undefined : agentArguments(lockHolder(held));
  if (!argv) return {};
  const command = new Command()
    .exitOverride()
    .configureOutput({ writeErr: () => undefined, writeOut: () => undefined });
  addFlags(command.allowUnknownOption(true).allowExcessArguments(true), AGENT_FLAGS);
  try {
    command.parse(argv, { from: 'user' });
  } catch {
    return {}; // another version's, with flags that mean something else
  }
  const given = givenFlags(command);
  const taken = Object.entries(command.opts()).filter(
    ([key]) => given.has(key) && key in STATE_FLAGS && !NOT_TAKEN.includes(key),
  );
  return Object.fromEntries(taken);
}

/** What follows `weir agent` on the command line of a process; undefined where it is another program or out of sight. */
export function agentArguments(pid: number | undefined): string[] | undefined {
  if (pid === undefined) return undefined;
  try {
    const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
    const at = argv.findIndex((word, index) => word === 'agent' && basename(argv[index - 1] ?? '') === 'weir');
    return at < 0 ? undefined : argv.slice(at + 1);
  } catch {
    return undefined;
  }
}
