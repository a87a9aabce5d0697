/** What a command gets from outside: tests hand it another world than the process has. */
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Output {
  /** Calls `written` once the text has left the process. */
  write(text: string, written?: () => void): unknown;
}

export interface Context {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly hostname: () => string;
  /** ms since 1970. */
  readonly now: () => number;
  /** ns of CLOCK_MONOTONIC, the clock of the programs. */
  readonly monotonic: () => bigint;
  /** Aborted by SIGTERM and SIGINT. */
  readonly signal: AbortSignal;
}

export function processContext(signal: AbortSignal): Context {
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    hostname,
    now: Date.now,
    monotonic: () => process.hrtime.bigint(),
    signal,
  };
}

/** Waits, at most until the signal. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}

/** Writes and waits until the text has left the process: a pipe may take it slowly. */
export function send(out: Output, text: string): Promise<void> {
  return new Promise((resolve) => void out.write(text, () => resolve()));
}
