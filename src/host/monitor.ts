/** Tells when something of the node's changes, by a program that says a word each time; it is started again should it end. */
import { type ChildProcess, spawn } from 'node:child_process';

const RESTART_DELAY = 1000;

/** The node's links, addresses, routes and neighbours. */
export function monitorNetwork(delay: number, changed: () => void): Disposable {
  return new Monitor(['ip', '-o', 'monitor', 'link', 'address', 'route', 'neigh'], delay, changed);
}

/** The tables of nftables, whoever changes them. */
export function monitorRules(delay: number, changed: () => void): Disposable {
  return new Monitor(['nft', 'monitor'], delay, changed);
}

class Monitor implements Disposable {
  readonly #command: readonly [program: string, ...args: string[]];
  readonly #delay: number;
  readonly #changed: () => void;
  #child: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #pending: NodeJS.Timeout | undefined;
  #stopped = false;

  /** Calls changed once for all that happens within `delay` ms. */
  constructor(command: readonly [program: string, ...args: string[]], delay: number, changed: () => void) {
    this.#command = command;
    this.#delay = delay;
    this.#changed = changed;
    this.#start();
  }

  #start(): void {
    /* ends with us, however we end: where nothing happens any more it would never notice */
    const args = ['--pdeathsig', 'KILL', '--', ...this.#command];
    const child = spawn('setpriv', args, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#child = child;
    child.stdout.on('data', () => this.#happened());
    child.on('error', () => undefined); // its absence shows when what it tells of is read
    child.on('close', () => {
      if (this.#stopped) return;
      this.#happened(); // something may have been missed
      this.#restart = setTimeout(() => this.#start(), RESTART_DELAY);
    });
  }

  #happened(): void {
    this.#pending ??= setTimeout(() => {
      this.#pending = undefined;
      this.#changed();
    }, this.#delay);
  }

  [Symbol.dispose](): void {
    this.#stopped = true;
    clearTimeout(this.#restart);
    clearTimeout(this.#pending);
    this.#child?.kill('SIGKILL');
  }
}
