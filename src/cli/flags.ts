/** Flags with types: how each is written, what it means, and what becomes of its text. */
import { type Command, Option } from 'commander';
import { WeirError } from '../errors.js';

/** Ends the command with a line that names the flag, the value received and this reason. */
export type Refuse = (reason: string) => never;
export type Parser<T> = (text: string, refuse: Refuse) => T;

export interface Flag<T> {
  /** As commander writes it: `-o, --output <FORMAT>`. Its long name in camel case is the key of its value. */
  readonly usage: string;
  readonly help: string;
  readonly parse: Parser<T>;
  /** Text in its place where the flag is absent. */
  readonly fallback: string | undefined;
  /** Text in its place where the flag stands without a value. */
  readonly bare: string | undefined;
}

export type Flags = Readonly<Record<string, Flag<unknown>>>;
export type Values<F extends Flags> = { readonly [K in keyof F]: F[K] extends Flag<infer T> ? T : never };

/** A flag that always has a value. */
export function flag<T>(usage: string, help: string, parse: Parser<T>, fallback: string, bare?: string): Flag<T> {
  return { usage, help, parse, fallback, bare };
}

/** A flag that may be absent. */
export function optional<T>(usage: string, help: string, parse: Parser<T>, bare?: string): Flag<T | undefined> {
  return { usage, help, parse, fallback: undefined, bare };
}

export function usageError(message: string): WeirError {
  return new WeirError('WEIR_USAGE', message);
}

/** Gives the command its flags. */
export function addFlags(command: Command, flags: Flags): void {
  for (const { usage, help, parse, fallback, bare } of Object.values(flags)) {
    const option = new Option(usage, help);
    const name = option.long ?? usage;
    const read = (text: string): unknown =>
      parse(text, (reason) => {
        throw usageError(`${name}: ${JSON.stringify(text)} ${reason}`);
      });
    option.argParser(read);
    if (fallback !== undefined) option.default(read(fallback), fallback === '' ? 'none' : fallback);
    if (bare !== undefined) option.preset(bare);
    command.addOption(option);
  }
}
