/** Switches on what forwarding needs; what it was before is kept with the pins, for cleanup to restore. */
import { isForwarding, neededSysctls, writeSysctl } from '../host/sysctl.js';
import { MAPS } from '../maps/layout.js';
import { openTable } from '../maps/table.js';
import type { Log } from './log.js';

/** What another dataplane, which is there too, has found and set: it is not what was before Weir that is found now. */
export type Inherited = Readonly<Record<string, { readonly before: string; readonly value: string }>>;

export function inheritSysctls(bpfRoot: string, inherited: Inherited): void {
  using changed = openTable(bpfRoot, MAPS.weir_sysctls);
  for (const [path, values] of Object.entries(inherited)) if (isForwarding(path)) changed.add({ path }, values);
}

export function readSysctls(bpfRoot: string): Inherited {
  using changed = openTable(bpfRoot, MAPS.weir_sysctls);
  return Object.fromEntries([...changed.entries()].map(([{ path }, { before, value }]) => [path, { before, value }]));
}

export function applySysctls(bpfRoot: string, log: Log): void {
  using changed = openTable(bpfRoot, MAPS.weir_sysctls);
  for (const { path, before, value } of neededSysctls()) {
    try {
      changed.add({ path }, { before, value }); // first, so that cleanup knows of it whatever happens next
      writeSysctl(path, value);
      log('info', `set ${path}=${value} was=${before}`);
    } catch (error) {
      /* in a container /proc/sys may be read-only: the node has to be set up then */
      changed.delete({ path });
      const reason = error instanceof Error ? error.message : String(error);
      log('warn', `cannot set ${path}=${value} (it is ${before}), forwarding may not work: ${reason}`);
    }
  }
}
