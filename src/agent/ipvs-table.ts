/** The table `weir` of nftables: brought to what its rows say, or made anew where it is not as this program makes it. */
import { isDeepStrictEqual } from 'node:util';
import type { Link } from '../core/network.js';
import { plan, type Row } from '../core/plan.js';
import type { Kernel } from '../ipvs/kernel.js';
import { applyRuleset } from '../ipvs/nft.js';
import { segmentOf } from '../ipvs/node-rows.js';
import { ruleCounts, tableChanges, versionSet, wholeTable } from '../ipvs/ruleset.js';
import type { AgentOptions } from '../options.js';

/** Returns the kernel as it is then, and the number of changed elements. */
export function syncTable(
  kernel: Kernel,
  rows: ReadonlyMap<string, Row>,
  { masqueradeAll, serviceCidr }: Pick<AgentOptions, 'masqueradeAll' | 'serviceCidr'>,
  uplinks: readonly Link[],
): { kernel: Kernel; writes: number } {
  const options = { segment: segmentOf(uplinks), masqueradeAll, serviceCidr };
  const [version, rules] = [versionSet(options), ruleCounts(options)];
  const writes = plan(kernel.rows, rows, {});
  const isIntact = kernel.version === version && isDeepStrictEqual(kernel.rules, rules);
  applyRuleset(isIntact ? tableChanges(writes) : wholeTable(rows, options));
  return { kernel: { ...kernel, rows, version, rules }, writes: writes.length + (isIntact ? 0 : 1) };
}
