/** Switches on what IPVS and policy need, and forwarding, and keeps it on. */
import { neededSysctls, readSysctl, writeSysctl } from '../host/sysctl.js';
import type { IpvsState } from '../ipvs/state-file.js';
import type { Setting } from '../ipvs/sysctls.js';
import type { Log } from './log.js';

const FORWARDING = ['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding'];

export class HeldSettings {
  readonly #log: Log;
  readonly #held = new Map<string, string>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Returns what was changed. What cannot be set is reported with what it is for. */
  apply(settings: readonly Setting[]): IpvsState['sysctls'] {
    const forwarding = neededSysctls().map(({ path, value }) => ({ path, value, why: 'packets are passed on' }));
    const changed: Record<string, { before: string; value: string }> = {};
    for (const { path, value, why } of [...forwarding, ...settings]) {
      const before = readSysctl(path);
      if (before === undefined) continue;
      try {
        if (before !== value) {
          writeSysctl(path, value);
          changed[path] = { before, value };
          this.#log('info', `set ${path}=${value} was=${before} (${why})`);
        }
        this.#held.set(path, value);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        this.#log('warn', `cannot set ${path}=${value} (it is ${before}): ${why}: ${reason}`);
      }
    }
    for (const path of FORWARDING) if (readSysctl(path) === '1') this.#held.set(path, '1');
    return changed;
  }

  /** Returns what another program has changed since, in words for the log: it is put back. */
  restore(): string[] {
    return [...this.#held].flatMap(([path, value]) => {
      const now = readSysctl(path);
      if (now === undefined || now === value) return [];
      try {
        writeSysctl(path, value);
      } catch {
        this.#held.delete(path); // it was told when it could be set, and now cannot: once is enough
      }
      return [`${path}=${now}`];
    });
  }
}
