/** Network policy in the IPVS dataplane: the table `weir-policy`, and what bridges need for it to see their packets. */
import type { Roles } from '../core/network.js';
import { readSysctl } from '../host/sysctl.js';
import { BRIDGE_SETTINGS } from '../ipvs/sysctls.js';
import type { PolicyTarget } from '../ipvs/policy-rows.js';
import { PolicyTables } from '../ipvs/policy-tables.js';
import type { IpvsState } from '../ipvs/state-file.js';
import type { AgentOptions } from '../options.js';
import { applySettings } from './ipvs-settings.js';
import type { Log } from './log.js';

type Options = Pick<AgentOptions, 'runFirewall' | 'defaultDenyUnknown' | 'keepEstablished' | 'takeoverGrace'>;

export class NftFirewall {
  readonly #tables: PolicyTables;
  readonly #isOn: boolean;
  readonly #log: Log;
  #bridged = false;

  /** Adopts what is there. Throws WEIR_TOOL. */
  constructor(options: Options, log: Log) {
    const { defaultDenyUnknown: denyUnknown, keepEstablished, takeoverGrace } = options;
    this.#tables = new PolicyTables({ denyUnknown, keepEstablished, takeoverGrace });
    this.#isOn = options.runFirewall;
    this.#log = log;
  }

  /** Returns the number of entries written. */
  enforce(policy: PolicyTarget, roles: Roles): number {
    return this.#isOn ? this.#tables.enforce(policy, roles) : this.#tables.remove();
  }

  /** Tells of the node's devices. */
  follow(roles: Roles): number {
    return this.#isOn ? this.#tables.follow(roles) : 0;
  }

  /** Once pods are on bridges: packets between them are to cross FORWARD. Returns the settings changed. */
  openBridges({ bridges }: Roles): IpvsState['sysctls'] {
    if (!this.#isOn || this.#bridged || bridges.length === 0) return {};
    this.#bridged = true;
    if (BRIDGE_SETTINGS.every(({ path }) => readSysctl(path) !== undefined))
      return applySettings(BRIDGE_SETTINGS, this.#log);
    const names = bridges.map(({ name }) => name).join();
    this.#log(
      'warn',
      `policy does not see what pods on the same bridge say to each other (${names}): modprobe br_netfilter, then start again`,
    );
    return {};
  }

  recover(): void {
    this.#tables.recover();
  }

  /** What is missing. */
  faults(): readonly string[] {
    return this.#tables.intact ? [] : ['the table inet weir-policy of nftables'];
  }
}
