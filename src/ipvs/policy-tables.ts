/** Network policy in nftables: what is wanted is compared with what is there, and only the difference is written, at once. */
import type { Roles } from '../core/network.js';
import { type ChainDigests, changedChains } from './chains.js';
import { applyRuleset, readChains, removeTable } from './nft.js';
import { foreignPolicy } from './policy-foreign.js';
import { type PolicyKernel, readPolicyTable } from './policy-kernel.js';
import { isProgramChain, PolicyCompilation, type PolicyTarget } from './policy-rows.js';
import { emptyTable, TABLE, type TableOptions, versionSet } from './policy-table.js';
import { policyChange } from './policy-text.js';

export interface PolicyTableOptions extends TableOptions {
  /** ms after the first start during which TCP connections that are under way are let through. */
  readonly takeoverGrace: number;
}

export class PolicyTables {
  readonly #options: PolicyTableOptions;
  readonly #compilation = new PolicyCompilation();
  #kernel: PolicyKernel;
  #made: ChainDigests;
  #target: PolicyTarget | undefined;

  /** Adopts what is there. `made`: its chains as the last agent left them. Throws WEIR_TOOL. */
  constructor(options: PolicyTableOptions, made: ChainDigests) {
    this.#options = options;
    this.#made = made;
    this.#kernel = readPolicyTable();
  }

  /** Enforces this. Returns the number of elements and chains that were changed. */
  enforce(target: PolicyTarget, roles: Roles): number {
    this.#target = target;
    return this.follow(roles);
  }

  /** The devices have changed. Until policy is told, what the last agent has left is in force. */
  follow(roles: Roles): number {
    if (!this.#target) return 0;
    const want = this.#compilation.rows(this.#target, roles);
    const intact = this.#hasFixedPart();
    const have = intact ? this.#kernel : { chains: new Map(), members: new Map(), rows: new Map() };
    const { text, size, chains } = policyChange(have, want, this.#made);
    if (intact && size === 0) return 0;
    const grace = this.#kernel.version === '' ? this.#options.takeoverGrace / 1000 : 0;
    applyRuleset(TABLE, intact ? text : emptyTable(this.#options, grace) + text);
    if (!intact || chains > 0) this.#made = readChains(TABLE);
    const { members, rows } = want;
    this.#kernel = { version: versionSet(this.#options), chains: this.#made, members, rows, listed: [] };
    return size + (intact ? 0 : 1);
  }

  /** No policy is to be in force at all. */
  remove(): number {
    if (this.#kernel.version === '') return 0;
    removeTable(TABLE);
    this.recover();
    return 1;
  }

  /** Reads the kernel again. Returns what another hand has changed there since this was written. */
  recover(): string[] {
    const known = this.#kernel;
    this.#kernel = readPolicyTable();
    return this.#target ? foreignPolicy(known, this.#kernel, TABLE) : [];
  }

  /** Whether the table is as this was written, its elements aside. */
  get intact(): boolean {
    return this.#target === undefined || this.#hasFixedPart();
  }

  /** The chains as they were left. */
  get made(): ChainDigests {
    return this.#made;
  }

  #hasFixedPart(): boolean {
    const { version, chains } = this.#kernel;
    return version === versionSet(this.#options) && changedChains(this.#made, chains).every(isProgramChain);
  }
}
