/** Whether anybody has been at what IPVS and nftables hold, told without reading all of it. */
import { readFileSync } from 'node:fs';
import { monitorRules } from '../host/monitor.js';

/** ms in which several changes of nftables are one. */
const DELAY = 100;

export class IpvsWatch implements Disposable {
  readonly #monitor: Disposable;
  #servers = '';
  #touched = true;

  constructor() {
    this.#monitor = monitorRules(DELAY, () => this.touch());
  }

  /** Something has happened: the next `changed` says so. */
  touch(): void {
    this.#touched = true;
  }

  /** Whether anything has changed since the last call, by us or by others. */
  changed(): boolean {
    const servers = virtualServers();
    const changed = this.#touched || servers !== this.#servers;
    this.#servers = servers;
    this.#touched = false;
    return changed;
  }

  [Symbol.dispose](): void {
    this.#monitor[Symbol.dispose]();
  }
}

/** Virtual and real servers without their connections, which the kernel counts in the last two columns. */
function virtualServers(): string {
  try {
    return readFileSync('/proc/net/ip_vs', 'latin1').replace(/(^ {2}-> .*?)\s+\d+\s+\d+\s*$/gm, '$1');
  } catch {
    return '';
  }
}
