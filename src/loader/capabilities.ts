/** What the process may do, told from /proc: so that a refusal names what is missing. */
import { readFileSync } from 'node:fs';

/** Bits of CapEff (capability.h). */
const NEEDED = { CAP_NET_ADMIN: 12, CAP_PERFMON: 38, CAP_BPF: 39 } as const;
const CAP_SYS_ADMIN = 21;

/**
 * Names of the capabilities that loading and attaching need (all but CAP_NET_ADMIN only with BPF) and that `status` (of
 * /proc/self/status) does not show.
 */
export function missingCapabilities(
  status: string = readFileSync('/proc/self/status', 'utf8'),
  dataplane: 'bpf' | 'ipvs' = 'bpf',
): string[] {
  const held = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  const has = (bit: number): boolean => ((held >> BigInt(bit)) & 1n) === 1n;
  return Object.entries(NEEDED)
    .filter(([name]) => dataplane === 'bpf' || name === 'CAP_NET_ADMIN')
    .filter(([name, bit]) => !has(bit) && !(name !== 'CAP_NET_ADMIN' && has(CAP_SYS_ADMIN)))
    .map(([name]) => name);
}
