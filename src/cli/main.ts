/** The command line: finds the command, runs it, turns what went wrong into one line and an exit code. */
import { Command, CommanderError, type Option } from 'commander';
import { describeError, WeirError } from '../errors.js';
import { programVersion } from '../host/version.js';
import { missingCapabilities } from '../loader/capabilities.js';
import { KernelError, VerifierError } from '../loader/errors.js';
import { agentCommand } from './agent.js';
import { backendListCommand } from './backend.js';
import { cleanupCommand } from './cleanup.js';
import type { CliCommand, ExitCode } from './command.js';
import { type Context, processContext, send } from './context.js';
import { backendDrainCommand } from './drain.js';
import { diffCommand } from './diff.js';
import { dropsCommand } from './drops.js';
import { endpointListCommand } from './endpoint.js';
import { usageError } from './flags.js';
import { flowListCommand } from './flow.js';
import { policyCheckCommand } from './policy-check.js';
import { policyListCommand } from './policy-list.js';
import { policyMatrixCommand } from './policy-matrix.js';
import { serviceListCommand } from './service.js';
import { statusCommand } from './status.js';

const COMMANDS: readonly CliCommand[] = [
  agentCommand,
  statusCommand,
  serviceListCommand,
  backendListCommand,
  backendDrainCommand,
  endpointListCommand,
  flowListCommand,
  policyListCommand,
  policyCheckCommand,
  policyMatrixCommand,
  dropsCommand,
  diffCommand,
  cleanupCommand,
];

const GROUPS: Readonly<Record<string, string>> = {
  service: 'what is served',
  backend: 'who serves it',
  endpoint: 'who lives here, and what isolates them',
  flow: 'which flow goes where',
  policy: 'who may reach whom',
};

/** Runs one command line (without node and script) and returns its exit code. */
export async function main(argv: readonly string[], context: Context): Promise<ExitCode> {
  let code: ExitCode = 0;
  try {
    await buildProgram(context, (result) => (code = result)).parseAsync(argv, { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0; // help or version
    const reported = error instanceof CommanderError ? wrongUsage(error, argv) : explained(error);
    context.stderr.write(`weir: ${describeError(reported)}\n`);
    if (reported instanceof VerifierError && context.env['WEIR_DEBUG'] === 'verifier')
      context.stderr.write(reported.log);
    return reported instanceof WeirError && reported.code === 'WEIR_USAGE' ? 2 : 1;
  }
}

/** ms within which the process ends after a signal, whatever still hangs. */
const GRACE = 4000;

/** The process `bin/weir`: signals end what runs, everything else is main's. */
export async function runProcess(argv: readonly string[]): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      stop.abort();
      setTimeout(() => process.exit(argv[0] === 'agent' ? 0 : 1), GRACE).unref();
    });
  }
  const context = processContext(stop.signal);
  const fail = (error: unknown): never => {
    context.stderr.write(`weir: ${describeError(error)}\n`);
    process.exit(1);
  };
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
  process.stdout.on('error', () => process.exit(1)); // the reader has seen enough
  const code = await main(argv, context);
  await Promise.all([send(context.stdout, ''), send(context.stderr, '')]);
  process.exit(code); // whatever still runs has nothing to say
}

function buildProgram(context: Context, finish: (code: ExitCode) => void): Command {
  const program = new Command('weir');
  program.description('Kubernetes load balancer and policy dataplane').version(programVersion()).exitOverride();
  program.configureHelp({ optionDescription: describeOption });
  program.configureOutput({ writeOut: (text) => context.stdout.write(text), writeErr: () => undefined });
  program.addHelpText('after', '\nExit codes:\n  0  done\n  1  the answer is no, or it failed\n  2  wrong usage');
  const groups = new Map<string, Command>();
  for (const command of COMMANDS) {
    const [noun = '', verb] = command.path.split(' ');
    const group =
      verb === undefined ? program : (groups.get(noun) ?? program.command(noun).summary(GROUPS[noun] ?? ''));
    if (verb !== undefined) groups.set(noun, group);
    command.build(group, context, finish);
  }
  return program;
}

function describeOption({ description, defaultValueDescription }: Option): string {
  return defaultValueDescription === undefined ? description : `${description} (default: ${defaultValueDescription})`;
}

/** Pins that may not even be opened: it is the capabilities that lack. */
function explained(error: unknown): unknown {
  if (!(error instanceof KernelError) || error.errno !== 'EACCES') return error;
  const missing = missingCapabilities();
  if (missing.length === 0) return error;
  return new WeirError('WEIR_CAPABILITY', `${error.message}, missing ${missing.join(', ')}`, { cause: error });
}

/** One line of what commander says in several. */
function wrongUsage(error: CommanderError, argv: readonly string[]): WeirError {
  if (error.code !== 'commander.help')
    return usageError(error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' '));
  const [noun] = argv;
  const verbs = COMMANDS.map(({ path }) => path.split(' ')).flatMap(([first, verb]) =>
    first === noun ? (verb ?? []) : [],
  );
  return usageError(
    noun === undefined ? 'no command given' : `${noun}: no command given, must be one of ${verbs.join(', ')}`,
  );
}
