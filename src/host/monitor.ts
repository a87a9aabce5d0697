/** Tells when the node's links, addresses, routes or neighbours change: `ip monitor`, started again should it end. */
import { type ChildProcess, spawn } from 'node:child_process';

const RESTART_DELAY = 1000;

export class NetworkMonitor implements Disposable {
  readonly #changed: () => void;
  #child: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #stopped = false;

  /** Calls changed at every event, often several times for one cause. */
  constructor(changed: () => void) {
    this.#changed = changed;
    this.#start();
  }

  #start(): void {
    const child = spawn('ip', ['-o', 'monitor', 'link', 'address', 'route', 'neigh'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.#child = child;
    child.stdout.on('data', () => this.#changed());
    child.on('error', () => undefined); // its absence shows when the network is read
    child.on('close', () => {
      if (this.#stopped) return;
      this.#changed(); // something may have been missed
      this.#restart = setTimeout(() => this.#start(), RESTART_DELAY);
    });
  }

  [Symbol.dispose](): void {
    this.#stopped = true;
    clearTimeout(this.#restart);
    this.#child?.kill('SIGKILL');
  }
}
