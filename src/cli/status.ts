/** `weir status`: whether an agent is alive and all that it has read is in force. */
import { modeOf, readConfig } from '../agent/installed.js';
import { type IpvsState, readState, stateDirectory } from '../ipvs/state-file.js';
import { isLocked, lockHolder } from '../loader/pins.js';
import { defineCommand } from './command.js';
import { BPF_ROOT, OUTPUT } from './common-flags.js';
import { pause } from './context.js';
import { optional } from './flags.js';
import { duration } from './parse.js';

export interface Status {
  readonly synced: boolean;
  /** bpf or ipvs, null where nothing is installed. */
  readonly dataplane: string | null;
  readonly generation: number;
  /** ISO time of the last change that was carried out. */
  readonly lastSync: string | null;
  readonly agent: 'running' | 'dead' | 'absent';
  readonly pid: number | null;
}

const POLL = 100;
const DATAPLANES: Readonly<Record<number, string>> = { 1: 'bpf', 2: 'ipvs' };

export const statusCommand = defineCommand({
  path: 'status',
  summary: 'tell whether an agent is alive and has synced',
  flags: {
    wait: optional('--wait [DURATION]', 'ask again until it has synced, for so long', duration, '30s'),
    bpfRoot: BPF_ROOT,
    output: OUTPUT,
  },
  exits: { 0: 'an agent is alive and has synced', 1: 'it is not' },
  run: async ({ bpfRoot, wait = 0, output }, context) => {
    const until = context.now() + wait;
    let status = readStatus(bpfRoot);
    while (!status.synced && context.now() < until && !context.signal.aborted) {
      await pause(Math.min(POLL, until - context.now()), context.signal);
      status = readStatus(bpfRoot);
    }
    context.stdout.write(output === 'json' ? `${JSON.stringify(status, null, 2)}\n` : formatStatus(status, bpfRoot));
    return status.synced ? 0 : 1;
  },
});

function readStatus(root: string): Status {
  const directory = stateDirectory(root);
  const ipvs = readState(directory);
  return ipvs && modeOf(root) === 'ipvs' ? ipvsStatus(directory, ipvs) : bpfStatus(root);
}

function ipvsStatus(directory: string, { synced, pid, generation, lastSync }: IpvsState): Status {
  const running = isLocked(directory);
  return {
    synced: running && synced,
    dataplane: 'ipvs',
    generation,
    lastSync: lastSync === 0 ? null : new Date(lastSync).toISOString(),
    agent: running ? 'running' : 'dead',
    pid: running ? pid : null,
  };
}

function bpfStatus(root: string): Status {
  const running = isLocked(root);
  const config = readConfig(root);
  if (!config) {
    const agent = running ? 'running' : 'absent';
    return {
      synced: false,
      dataplane: null,
      generation: 0,
      lastSync: null,
      agent,
      pid: (running && lockHolder(root)) || null,
    };
  }
  return {
    synced: running && config.synced === 1,
    dataplane: DATAPLANES[config.dataplane] ?? null,
    generation: Number(config.generation),
    lastSync: config.lastSync === 0n ? null : new Date(Number(config.lastSync)).toISOString(),
    agent: running ? 'running' : 'dead',
    pid: running ? config.pid : null,
  };
}

function formatStatus(status: Status, root: string): string {
  const { agent, pid, dataplane, generation, lastSync, synced } = status;
  if (agent === 'absent') return `not installed: nothing is pinned below ${root}\n`;
  const who =
    agent === 'running' ? `agent ${pid ?? ''} running` : 'no agent running: the dataplane goes on with what it has';
  const what = `dataplane ${dataplane ?? 'not loaded yet'}, generation ${generation}, last sync ${lastSync ?? 'never'}`;
  return `${synced ? 'synced' : 'not synced'}: ${who}, ${what}\n`;
}
