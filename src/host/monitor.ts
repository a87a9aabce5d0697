/** Tells when something of the node's changes, by a program that says a line each time; it is started again should it end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { NeighbourNews } from './neighbour-news.js';

const RESTART_DELAY = 1000;
/** ms after which a program that was started is sure to listen. */
const LISTENS = 1000;
/** ms between looks at the network, whether anything is heard or not. */
const INTERVAL = 60_000;

/**
 * The node's links, addresses, routes and neighbours, and what bridges learn of their ports. Calls `changed` once for all that
 * happens within `delay` ms, and now and then without a reason: the kernel drops what a reader is too slow for.
 */
export function monitorNetwork(delay: number, changed: () => void): Disposable {
  let pending: NodeJS.Timeout | undefined;
  const happened = (): void => {
    pending ??= setTimeout(() => {
      pending = undefined;
      changed();
    }, delay);
  };
  let neighbours = new NeighbourNews();
  const monitor = new Monitor(['ip', '-o', 'monitor', 'label', 'link', 'address', 'route', 'neigh'], (line) => {
    if (line === undefined) neighbours = new NeighbourNews();
    if (line === undefined || neighbours.heard(line)) happened();
  });
  const interval = setInterval(happened, INTERVAL);
  return {
    [Symbol.dispose]() {
      clearInterval(interval);
      monitor[Symbol.dispose]();
      clearTimeout(pending);
    },
  };
}

/** The tables of nftables, whoever changes them. `heard` gets each line, undefined where some may have been missed. */
export function monitorRules(heard: Heard): Disposable {
  return new Monitor(['nft', 'monitor'], heard);
}

type Heard = (line: string | undefined) => void;

class Monitor implements Disposable {
  readonly #command: readonly [program: string, ...args: string[]];
  readonly #heard: Heard;
  #child: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(command: readonly [program: string, ...args: string[]], heard: Heard) {
    this.#command = command;
    this.#heard = heard;
    this.#start();
  }

  #start(): void {
    /* ends with us, however we end: where nothing happens any more it would never notice */
    const args = ['--pdeathsig', 'KILL', '--', ...this.#command];
    const child = spawn('setpriv', args, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#child = child;
    this.#timer = setTimeout(() => this.#heard(undefined), LISTENS);
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!this.#stopped) this.#heard(line);
    });
    child.on('error', () => undefined); // its absence shows when what it tells of is read
    child.on('close', () => {
      if (this.#stopped) return;
      this.#heard(undefined);
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#start(), RESTART_DELAY);
    });
  }

  [Symbol.dispose](): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#child?.kill('SIGKILL');
  }
}
