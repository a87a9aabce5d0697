/** Network policy in nftables: what is wanted is compared with what is there, and only the difference is written, at once. */
import type { Roles } from '../core/network.js';
import { applyRuleset } from './nft.js';
import { foreignPolicy } from './policy-foreign.js';
import { type PolicyKernel, readPolicyTable, removePolicyTable } from './policy-kernel.js';
import { PolicyCompilation, type PolicyRows, type PolicyTarget } from './policy-rows.js';
import { emptyTable, fixedChains, TABLE, type TableOptions, versionSet } from './policy-table.js';
import { policyChange } from './policy-text.js';

export interface PolicyTableOptions extends TableOptions {
  /** ms after the first start during which TCP connections that are under way are let through. */
  readonly takeoverGrace: number;
}

export class PolicyTables {
  readonly #options: PolicyTableOptions;
  readonly #compilation = new PolicyCompilation();
  #kernel: PolicyKernel;
  #target: PolicyTarget | undefined;

  /** Adopts what is there. Throws WEIR_TOOL. */
  constructor(options: PolicyTableOptions) {
    this.#options = options;
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
    const intact = isIntact(this.#kernel, this.#options);
    const have = intact ? this.#kernel : { chains: new Map(), members: new Map(), rows: new Map() };
    const { text, size } = policyChange(have, want);
    if (intact && size === 0) return 0;
    const grace = this.#kernel.version === '' ? this.#options.takeoverGrace / 1000 : 0;
    applyRuleset(intact ? text : emptyTable(this.#options, grace) + text);
    this.#kernel = held(want, this.#options);
    return size + (intact ? 0 : 1);
  }

  /** No policy is to be in force at all. */
  remove(): number {
    if (this.#kernel.version === '') return 0;
    removePolicyTable();
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
    return this.#target === undefined || isIntact(this.#kernel, this.#options);
  }
}

/** Does the fixed part have all its rules? */
export function isIntact({ version, fixed }: Pick<PolicyKernel, 'version' | 'fixed'>, options: TableOptions): boolean {
  if (version !== versionSet(options)) return false;
  const wanted = fixedChains(options);
  return fixed.size === wanted.size && [...wanted].every(([name, rules]) => fixed.get(name) === rules);
}

function held({ chains, members, rows }: PolicyRows, options: TableOptions): PolicyKernel {
  return {
    version: versionSet(options),
    fixed: fixedChains(options),
    chains: new Map([...chains].map(([name, lines]) => [name, lines.length])),
    ...{ members, rows, listed: [] },
  };
}
