/** Tells when the node's links, addresses, routes or neighbours change: `ip monitor`, started again should it end. */
import { type ChildProcess, spawn } from 'node:child_process';

const RESTART_DELAY = 1000;

export class NetworkMonitor implements Disposable {
  readonly #delay: number;
  readonly #changed: () => void;
  #child: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #pending: NodeJS.Timeout | undefined;
  #stopped = false;

  /** Calls changed once for all that happens within `delay` ms. */
  constructor(delay: number, changed: () => void) {
    this.#delay = delay;
    this.#changed = changed;
    this.#start();
  }

  #start(): void {
    const objects = ['link', 'address', 'route', 'neigh'];
    const child = spawn('ip', ['-o', 'monitor', ...objects], { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#child = child;
    child.stdout.on('data', () => this.#happened());
    child.on('error', () => undefined); // its absence shows when the network is read
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
