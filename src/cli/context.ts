/** What a command gets from outside: tests hand it another world than the process has. */
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Output {
  write(text: string): unknown;
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
    monotonic: process.hrtime.bigint,
    signal,
  };
}

/** Waits, at most until the signal. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
