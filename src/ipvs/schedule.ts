/** Which of IPVS's schedulers stands for which of ours (Linux, Documentation/networking/ipvs-sysctl.rst and net/netfilter/ipvs). */
import type { Schedule } from './virtual.js';

export interface Chosen {
  readonly scheduler: Schedule;
  readonly flags: readonly string[];
}

/**
 * maglev is `mh`, with the client's port in the hash, so that the connections of one client spread as they do with BPF. It and
 * `sh` choose again where their first choice has weight 0. `random` IPVS has not: rotation spreads as evenly. The weighted
 * forms are taken where weights differ, as they do where whole nodes are real servers.
 */
export function chooseSchedule(scheduler: string, weights: readonly number[]): Chosen {
  const weighted = weights.some((weight) => weight !== weights[0]);
  switch (scheduler) {
    case 'maglev':
      return { scheduler: 'mh', flags: ['mh-fallback', 'mh-port'] };
    case 'lc':
      return { scheduler: weighted ? 'wlc' : 'lc', flags: [] };
    case 'sh':
      return { scheduler, flags: ['sh-fallback'] };
    case 'dh':
      return { scheduler, flags: [] };
    default:
      return { scheduler: weighted ? 'wrr' : 'rr', flags: [] };
  }
}

/** A client's address alone decides, whatever its ports, and stays with its backend while that is there. */
export const BY_CLIENT: Chosen = { scheduler: 'mh', flags: ['mh-fallback'] };
