/** `weir agent`: the agent in the foreground, until it is told to end. */
import { fileURLToPath } from 'node:url';
import type { Log } from '../agent/log.js';
import { WeirError } from '../errors.js';
import { readNetwork } from '../host/network.js';
import { readKernel } from '../ipvs/kernel.js';
import { ensureStateDirectory, stateDirectory } from '../ipvs/state-file.js';
import { missingCapabilities } from '../loader/capabilities.js';
import { ensureRoot, lockRoot } from '../loader/pins.js';
import { MAPS } from '../maps/layout.js';
import { openTable } from '../maps/table.js';
import type { AgentOptions } from '../options.js';
import { AGENT_FLAGS, agentOptions } from './agent-flags.js';
import { defineCommand, type ExitCode } from './command.js';
import type { Context } from './context.js';
import { type Memory, openSource } from './source.js';
import { succeed } from './succession.js';

const OBJECT = fileURLToPath(new URL('../../../bpf/build/weir.bpf.o', import.meta.url));

export const agentCommand = defineCommand({
  path: 'agent',
  summary: 'keep the kernel in step with the objects; the dataplane stays when it ends',
  flags: AGENT_FLAGS,
  exits: { 0: 'ended by SIGTERM or SIGINT', 1: 'failed, or another agent uses the same --bpf-root' },
  run: async (values, context): Promise<ExitCode> => {
    const options = agentOptions(values, context);
    const log = logTo(context);
    const { dataplane, bpfRoot } = options;
    const missing = missingCapabilities(undefined, dataplane);
    if (missing.length > 0) throw new WeirError('WEIR_CAPABILITY', `start the agent: missing ${missing.join(', ')}`);
    const place = dataplane === 'bpf' ? bpfRoot : ensureStateDirectory(bpfRoot);
    if (dataplane === 'bpf') ensureRoot(bpfRoot);
    const lock = lockRoot(place); // before anything in the kernel is touched
    try {
      if (dataplane === 'ipvs') readKernel(options.runServiceProxy); // what is missing here is said before the other agent stops
      await succeed(dataplane === 'bpf' ? stateDirectory(bpfRoot) : bpfRoot, log, context.signal);
      if (dataplane === 'bpf') forgetSync(bpfRoot);
      await runAgent(options, log, context);
    } finally {
      lock[Symbol.dispose]();
    }
    return 0;
  },
});

async function runAgent(options: AgentOptions, log: Log, context: Context): Promise<void> {
  const { Agent } = await import('../agent.js'); // large, and no other command needs it
  using agent = new Agent(options, log, await readNetwork(), OBJECT);
  log(
    'info',
    `started pid=${process.pid} node=${options.nodeName} dataplane=${options.dataplane} bpf-root=${options.bpfRoot}`,
  );
  const memory = options.dataplane === 'bpf' ? apiMemory(options.bpfRoot) : {};
  await agent.run(openSource(options, memory), context.signal);
  log('info', 'ended; the dataplane stays in force');
}

/** Where the API server was last found, kept with the pins: names and ClusterIPs may not lead there while the node starts. */
function apiMemory(root: string): Memory {
  using table = openTable(root, MAPS.weir_api);
  const remember = (address: string): void => {
    using kept = openTable(root, MAPS.weir_api);
    kept.set(0, { address });
  };
  return { remembered: table.get(0)?.address || undefined, remember };
}

/** What the last agent said of itself holds no longer: `weir status` must not take it for this one's word. */
function forgetSync(root: string): void {
  try {
    using table = openTable(root, MAPS.weir_config);
    const config = table.get(0);
    if (config) table.set(0, { ...config, synced: 0, pid: process.pid });
  } catch (error) {
    if (!(error instanceof WeirError)) throw error; // not installed yet, or of another version: openDataplane will tell
  }
}

/** Lines of time, level and message. */
export function logTo(context: Context): Log {
  return (level, message) =>
    void context.stderr.write(`${new Date(context.now()).toISOString()} ${level} ${message}\n`);
}
