/** Whether anybody has been at what IPVS and nftables hold, told without reading all of it. */
import { readFileSync } from 'node:fs';
import { monitorRules } from '../host/monitor.js';
import { Generations } from '../ipvs/generations.js';
import { ownTransactions } from '../ipvs/nft.js';
import { BRIDGE_TABLE } from '../ipvs/policy-bridge.js';
import { TABLE as POLICY_TABLE } from '../ipvs/policy-table.js';
import { TABLE } from '../ipvs/ruleset.js';

/** What is read as one: virtual servers with the table `weir` and their addresses, or the tables of policies. */
export type Part = 'services' | 'policies';

const PARTS: readonly Part[] = ['services', 'policies'];

const PART_OF: ReadonlyMap<string, Part> = new Map([
  [TABLE, 'services'],
  [POLICY_TABLE, 'policies'],
  [BRIDGE_TABLE, 'policies'],
]);

export class IpvsWatch implements Disposable {
  readonly #monitor: Disposable;
  readonly #generations = new Generations(ownTransactions);
  #servers = '';
  #touched = new Set<Part>(PARTS);

  constructor() {
    this.#monitor = monitorRules((line) => this.#heard(line));
  }

  /** Something has happened: the next `changed` says so. */
  touch(parts = PARTS): void {
    for (const part of parts) this.#touched.add(part);
  }

  /** What has changed since the last call: tables by others, virtual servers by whomever. */
  changed(): ReadonlySet<Part> {
    const servers = virtualServers();
    if (servers !== this.#servers) this.touch(['services']);
    this.#servers = servers;
    const changed = this.#touched;
    this.#touched = new Set();
    return changed;
  }

  #heard(line: string | undefined): void {
    const tables = this.#generations.heard(line, Date.now());
    this.touch(tables === 'all' ? PARTS : [...tables].flatMap((table) => PART_OF.get(table) ?? []));
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
