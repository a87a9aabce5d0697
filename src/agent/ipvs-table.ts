/** The table `weir` of nftables: brought to what its rows say, or made anew where it is not as an agent has left it. */
import type { Link } from '../core/network.js';
import { plan, type Row } from '../core/plan.js';
import { type ChainDigests, changedChains } from '../ipvs/chains.js';
import type { Kernel } from '../ipvs/kernel.js';
import { applyRuleset, readChains } from '../ipvs/nft.js';
import { segmentOf } from '../ipvs/node-rows.js';
import { TABLE, tableChanges, versionSet, wholeTable } from '../ipvs/ruleset.js';
import type { AgentOptions } from '../options.js';

export class ServiceTable {
  readonly #options: Pick<AgentOptions, 'masqueradeAll' | 'serviceCidr'>;
  #made: ChainDigests;

  /** `made`: the chains as the last agent left them. */
  constructor({ masqueradeAll, serviceCidr }: AgentOptions, made: ChainDigests) {
    this.#options = { masqueradeAll, serviceCidr };
    this.#made = made;
  }

  get made(): ChainDigests {
    return this.#made;
  }

  /** Returns the kernel as it is then, and the number of changed elements. */
  sync(kernel: Kernel, rows: ReadonlyMap<string, Row>, uplinks: readonly Link[]): { kernel: Kernel; writes: number } {
    const options = { ...this.#options, segment: segmentOf(uplinks) };
    const version = versionSet(options);
    const writes = plan(kernel.rows, rows, {});
    const isIntact = kernel.version === version && changedChains(this.#made, kernel.chains).length === 0;
    applyRuleset(isIntact ? tableChanges(writes) : wholeTable(rows, options));
    if (!isIntact) this.#made = readChains(TABLE);
    return { kernel: { ...kernel, rows, version, chains: this.#made }, writes: writes.length + (isIntact ? 0 : 1) };
  }
}
