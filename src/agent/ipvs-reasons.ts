/** What the table `weir` has counted, by the reasons that both dataplanes have. */
import { readCount } from '../ipvs/nft.js';
import { countSet, REFUSAL_NAMES, REFUSALS } from '../ipvs/refusals.js';
import type { Measures } from '../metrics/weir.js';

export function refusalCounts(): Measures['reasons'] {
  return REFUSAL_NAMES.map((name) => ({ reason: REFUSALS[name].reason, drop: true, ...readCount(countSet(name)) }));
}
