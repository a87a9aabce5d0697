/** What nftables has counted of what ended here, by the reasons that both dataplanes have. */
import { type Count, readCount } from '../ipvs/nft.js';
import { BRIDGE_TABLE } from '../ipvs/policy-bridge.js';
import { RECORD_NAMES, RECORDS, TABLE as POLICY_TABLE } from '../ipvs/policy-table.js';
import { countSet } from '../ipvs/records.js';
import { REFUSAL_NAMES, REFUSALS } from '../ipvs/refusals.js';
import { TABLE } from '../ipvs/ruleset.js';
import type { Measures } from '../metrics/weir.js';

const COUNTED: readonly (readonly [reason: string, table: string, name: string])[] = [
  ...REFUSAL_NAMES.map((name) => [REFUSALS[name].reason, TABLE, name] as const),
  ...RECORD_NAMES.map((name) => [RECORDS[name].reason, POLICY_TABLE, name] as const),
  [RECORDS.spoofed.reason, BRIDGE_TABLE, 'spoofed'],
];

/** What is only audited goes on. */
export function countedReasons(): Measures['reasons'] {
  const sums = new Map<string, Count>();
  for (const [reason, table, name] of COUNTED) {
    const { packets, bytes } = readCount(table, countSet(name));
    const sum = sums.get(reason) ?? { packets: 0, bytes: 0 };
    sums.set(reason, { packets: sum.packets + packets, bytes: sum.bytes + bytes });
  }
  return [...sums].map(([reason, sum]) => ({ reason, drop: reason !== RECORDS.audited_ingress.reason, ...sum }));
}
