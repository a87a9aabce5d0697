/** The agent as a process of its own on a node of a test world, and what it costs by /proc. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Node, until, WEIR } from '../../test/netns/world.js';

const PATIENCE_MS = 180_000;

export class AgentProcess {
  readonly #child: ChildProcess;
  readonly #log: string;
  /** ms since 1970. */
  readonly started: number;

  /** `source` are the flags that say where objects come from. */
  constructor(node: Node, name: string, source: readonly string[]) {
    this.#log = join(node.world.directory, 'agent.log');
    const place = ['--node-name', name, '--bpf-root', node.bpfRoot];
    const silent = ['--health-bind-address', '', '--metrics-bind-address', ''];
    const log = openSync(this.#log, 'w');
    this.started = Date.now();
    this.#child = spawn('ip', ['netns', 'exec', node.space, WEIR, 'agent', ...source, ...place, ...silent], {
      stdio: ['ignore', 'inherit', log],
    });
    closeSync(log);
  }

  get log(): string {
    return readFileSync(this.#log, 'utf8');
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Waits for the first sync. Returns ms since the start, and the entries that it changed. */
  async synced(): Promise<{ ms: number; changed: number }> {
    const line = /^(\S+) info synced services=\d+ entries-changed=(\d+)/m;
    await until(
      () => line.test(this.log),
      PATIENCE_MS,
      () => `the agent did not sync:\n${this.log}`,
      () => this.#child.exitCode !== null,
    );
    const [, time = '', changed] = line.exec(this.log) ?? [];
    return { ms: Date.parse(time) - this.started, changed: Number(changed) };
  }

  /** ms of processor time so far, kernel's included. */
  cpu(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10; // USER_HZ is 100 everywhere
  }

  /** MiB resident: now, and at the most so far. */
  memory(): { now: number; peak: number } {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    const mib = (name: string): number =>
      Math.round(Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]) / 1024);
    return { now: mib('VmRSS'), peak: mib('VmHWM') };
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await ended;
  }
}

/** ms of the clock that all processes of this machine share. */
export function monotonic(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
