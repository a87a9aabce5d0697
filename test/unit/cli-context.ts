/** Runs a command line in this process, in a world made for the test. */
import { main } from '../../src/cli/main.js';
import type { Context, Output } from '../../src/cli/context.js';

export interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Collects what is written. */
export function collector(): Output & { text(): string } {
  let all = '';
  return {
    write: (text, written) => {
      all += text;
      written?.();
    },
    text: () => all,
  };
}

export function contextOf(stdout: Output, stderr: Output, changes: Partial<Context> = {}): Context {
  return {
    stdout,
    stderr,
    env: {},
    hostname: () => 'Node-1',
    now: Date.now,
    monotonic: () => process.hrtime.bigint(),
    signal: new AbortController().signal,
    ...changes,
  };
}

export async function weir(argv: readonly string[], changes: Partial<Context> = {}): Promise<Answer> {
  const [stdout, stderr] = [collector(), collector()];
  const code = await main(argv, contextOf(stdout, stderr, changes));
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}
