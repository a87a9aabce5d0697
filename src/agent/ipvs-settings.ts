/** Switches on what IPVS and policy need, and forwarding. */
import { neededSysctls, readSysctl, writeSysctl } from '../host/sysctl.js';
import type { IpvsState } from '../ipvs/state-file.js';
import type { Setting } from '../ipvs/sysctls.js';
import type { Log } from './log.js';

/** Returns what was changed. What cannot be set is reported with what it is for. */
export function applySettings(settings: readonly Setting[], log: Log): IpvsState['sysctls'] {
  const forwarding = neededSysctls().map(({ path, value }) => ({ path, value, why: 'packets are passed on' }));
  const changed: Record<string, { before: string; value: string }> = {};
  for (const { path, value, why } of [...forwarding, ...settings]) {
    const before = readSysctl(path);
    if (before === value || before === undefined) continue;
    try {
      writeSysctl(path, value);
      changed[path] = { before, value };
      log('info', `set ${path}=${value} was=${before} (${why})`);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log('warn', `cannot set ${path}=${value} (it is ${before}): ${why}: ${reason}`);
    }
  }
  return changed;
}
