/** What a command is: a path of words, flags, a function from their values to an exit code. */
import type { Command } from 'commander';
import type { Context } from './context.js';
import { addFlags, type Flags, usageError, type Values } from './flags.js';

/** 0 done, 1 the answer is no or it failed, 2 wrong usage. */
export type ExitCode = 0 | 1 | 2;

export interface CommandSpec<F extends Flags> {
  /** `status`, or `service list`. */
  readonly path: string;
  readonly summary: string;
  /** What follows the path, as the help shows it: `<NAME>` must be there, `[NAME]` may. Default: nothing. */
  readonly words?: readonly string[];
  readonly flags: F;
  /** What 0 and 1 mean here; 2 is the same everywhere. */
  readonly exits: Readonly<Record<0 | 1, string>>;
  /** `given`: the flags that stand on the command line, by the keys of their values; `words`: what follows the path. */
  run(
    values: Values<F>,
    context: Context,
    given: ReadonlySet<string>,
    words: readonly string[],
  ): Promise<ExitCode> | ExitCode;
}

/** A command with the types of its flags forgotten. */
export interface CliCommand {
  readonly path: string;
  /** Makes it known below `parent` (for `service list`: the command `service`). */
  build(parent: Command, context: Context, finish: (code: ExitCode) => void): void;
}

export function defineCommand<F extends Flags>(spec: CommandSpec<F>): CliCommand {
  const build: CliCommand['build'] = (parent, context, finish) => {
    const name = spec.path.split(' ').at(-1) ?? spec.path;
    const command = parent.command(name).summary(spec.summary).description(spec.summary).allowExcessArguments(true);
    for (const word of spec.words ?? []) command.argument(word);
    addFlags(command, spec.flags);
    const exits = { ...spec.exits, 2: 'wrong usage' };
    const lines = Object.entries(exits).map(([code, meaning]) => `  ${code}  ${meaning}`);
    command.addHelpText('after', `\nExit codes:\n${lines.join('\n')}`);
    command.action(async () => {
      const extra = command.args[spec.words?.length ?? 0];
      if (extra !== undefined) throw usageError(`${spec.path}: unexpected argument ${JSON.stringify(extra)}`);
      finish(await spec.run(command.opts<Values<F>>(), context, givenFlags(command), command.args));
    });
  };
  return { path: spec.path, build };
}

/** Keys of the flags that were given, as opposed to those that have their default. */
export function givenFlags(command: Command): ReadonlySet<string> {
  return new Set(Object.keys(command.opts()).filter((key) => command.getOptionValueSource(key) === 'cli'));
}
