/** The table `weir` of nftables: brought to what its rows say, or made anew where it is not as an agent has left it. */
import type { Link } from '../core/network.js';
import { plan, type Row, rowKey, toRows } from '../core/plan.js';
import { type ChainDigests, changedChains } from '../ipvs/chains.js';
import type { Kernel } from '../ipvs/kernel.js';
import { applyRuleset, readChains } from '../ipvs/nft.js';
import { segmentOf } from '../ipvs/node-rows.js';
import { comesFirst, TABLE, tableChanges, type TableOptions, versionSet, wholeTable } from '../ipvs/ruleset.js';
import type { AgentOptions } from '../options.js';

interface Synced {
  readonly kernel: Kernel;
  readonly writes: number;
}

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

  /** Adds what must be there before virtual servers change. Returns as `sync` does, which has the rest to do. */
  prepare(kernel: Kernel, rows: ReadonlyMap<string, Row>, uplinks: readonly Link[]): Synced {
    const fresh = [...rows.values()].filter((row) => comesFirst(row) && !kernel.rows.has(rowKey(row)));
    if (fresh.length === 0 || !this.#isIntact(kernel, versionSet(this.#optionsAt(uplinks))))
      return { kernel, writes: 0 };
    applyRuleset(TABLE, tableChanges(fresh.map((row) => ({ op: 'put', row, before: undefined }))));
    return { kernel: { ...kernel, rows: new Map([...kernel.rows, ...toRows(fresh)]) }, writes: fresh.length };
  }

  /** Returns the kernel as it is then, and the number of changed elements. */
  sync(kernel: Kernel, rows: ReadonlyMap<string, Row>, uplinks: readonly Link[]): Synced {
    const options = this.#optionsAt(uplinks);
    const writes = plan(kernel.rows, rows, {});
    const version = versionSet(options);
    const isIntact = this.#isIntact(kernel, version);
    applyRuleset(TABLE, isIntact ? tableChanges(writes) : wholeTable(rows, options));
    if (!isIntact) this.#made = readChains(TABLE);
    return { kernel: { ...kernel, rows, version, chains: this.#made }, writes: writes.length + (isIntact ? 0 : 1) };
  }

  #optionsAt(uplinks: readonly Link[]): TableOptions {
    return { ...this.#options, segment: segmentOf(uplinks) };
  }

  #isIntact(kernel: Kernel, version: string): boolean {
    return kernel.version === version && changedChains(this.#made, kernel.chains).length === 0;
  }
}
