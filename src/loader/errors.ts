/** Errors of the kernel border. */
import { constants } from 'node:os';
import { type ErrorCode, WeirError } from '../errors.js';
import { missingCapabilities } from './capabilities.js';

/** What bpf(2) answers beyond the errno of libc. */
const ENOTSUPP = 524;

const NAMES = new Map<number, string>([
  ...Object.entries(constants.errno).map(([name, number]): [number, string] => [number, name]),
  [constants.errno.EAGAIN, 'EAGAIN'],
  [ENOTSUPP, 'ENOTSUPP'],
]);

export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/** A call that the kernel or a library refused: which one, on what, and the errno by name. */
export class KernelError extends WeirError {
  /** Name of the function that failed. */
  readonly call: string;
  /** ENOENT, EPERM, ... */
  readonly errno: string;

  /** `action` says what was being done, `code` overrides what the errno suggests. */
  constructor(call: string, errno: number, action: string, code?: ErrorCode, details: Record<string, unknown> = {}) {
    const name = errnoName(errno);
    const missing = name === 'EPERM' ? missingCapabilities() : [];
    const hint = missing.length > 0 ? `, missing ${missing.join(', ')}` : '';
    super(
      code ?? (missing.length > 0 ? 'WEIR_CAPABILITY' : 'WEIR_KERNEL'),
      `${action}: ${call} answered ${name}${hint}`,
      {
        details: { ...details, call, errno: name, missing },
      },
    );
    this.name = 'KernelError';
    this.call = call;
    this.errno = name;
  }
}

/** How many lines of a verifier log an error shows; the last ones say what is wrong. */
const SHOWN_LINES = 8;
/** Statistics that the verifier appends after the reason. */
const TRAILER = /^(processed \d+ insns|verification time|stack depth|-- END PROG LOAD LOG --|max_states|\s*$)/;

/** A program that the verifier rejected. The whole log is in `log`; the message ends with its last meaningful lines. */
export class VerifierError extends WeirError {
  readonly log: string;

  constructor(program: string, log: string, cause?: unknown) {
    const { shown, omitted } = lastLines(log);
    const head = `load program ${program}: the verifier rejected it`;
    super('WEIR_VERIFIER', omitted > 0 ? `${head} (lines omitted: ${omitted})\n${shown}` : `${head}\n${shown}`, {
      cause,
      details: { program, omitted },
    });
    this.name = 'VerifierError';
    this.log = log;
  }
}

function lastLines(log: string): { shown: string; omitted: number } {
  const lines = log.trimEnd().split('\n');
  let end = lines.length;
  while (end > 0 && TRAILER.test(lines[end - 1] ?? '')) end--;
  const start = Math.max(0, end - SHOWN_LINES);
  return { shown: lines.slice(start, end).join('\n'), omitted: lines.length - (end - start) };
}
