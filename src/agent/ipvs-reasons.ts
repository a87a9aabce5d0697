/** What the table `weir` has counted, by the reasons that both dataplanes have. */
import { readCounters } from '../ipvs/nft.js';
import { refusalReason } from '../ipvs/refusals.js';
import type { Measures } from '../metrics/weir.js';

export function refusalCounts(): Measures['reasons'] {
  return [...readCounters()].flatMap(([name, { packets, bytes }]) => {
    const reason = refusalReason({ name });
    return reason === undefined ? [] : [{ reason, drop: true, packets, bytes }];
  });
}
