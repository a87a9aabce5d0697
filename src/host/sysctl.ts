/** Kernel settings below /proc/sys. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** That of a container is read-only: deploy/weir.yaml mounts the node's elsewhere, and tells where. */
const ROOT = process.env['WEIR_PROC_SYS'] ?? '/proc/sys';

/** The value of a setting such as net/ipv4/ip_forward, undefined where this kernel has none. */
export function readSysctl(path: string): string | undefined {
  try {
    return readFileSync(join(ROOT, path), 'utf8').trim();
  } catch {
    return undefined;
  }
}

export function writeSysctl(path: string, value: string): void {
  writeFileSync(join(ROOT, path), value);
}

/** Whether every dataplane needs the setting: one of those that `neededSysctls` tells. */
export function isForwarding(path: string): boolean {
  return /\/(ip_forward|forwarding|accept_ra)$/.test(path);
}

/** Settings that forwarding needs, with the values they must have; those that have them already are left out. */
export function neededSysctls(): { path: string; before: string; value: string }[] {
  const wanted: [string, string][] = [['net/ipv4/ip_forward', '1']];
  if (readSysctl('net/ipv6/conf/all/forwarding') !== undefined) {
    /* forwarding turns router advertisements off: 2 keeps them where they were on, and with them the default route */
    for (const device of readdirSync(join(ROOT, 'net/ipv6/conf'))) {
      const path = `net/ipv6/conf/${device}/accept_ra`;
      if (device !== 'lo' && readSysctl(path) === '1') wanted.push([path, '2']);
    }
    wanted.push(['net/ipv6/conf/all/forwarding', '1']);
  }
  return wanted.flatMap(([path, value]) => {
    const before = readSysctl(path);
    return before === undefined || before === value ? [] : [{ path, before, value }];
  });
}
