/** Network policy in the IPVS dataplane: the table `weir-policy`, and what bridges need for it to see their packets. */
import { bindings } from '../core/network.js';
import { readSysctl } from '../host/sysctl.js';
import type { ChainDigests } from '../ipvs/chains.js';
import { accepts, applyRuleset, readChains, removeTable } from '../ipvs/nft.js';
import { BRIDGE_TABLE, bridgeChange, type BridgeHeld, bridgeRows, bridgeVersion } from '../ipvs/policy-bridge.js';
import { foreignPolicy } from '../ipvs/policy-foreign.js';
import { readPolicyTable } from '../ipvs/policy-kernel.js';
import { BRIDGE_SETTINGS } from '../ipvs/sysctls.js';
import type { PolicyTarget } from '../ipvs/policy-rows.js';
import { LOG_PROBE, TABLE } from '../ipvs/policy-table.js';
import { PolicyTables } from '../ipvs/policy-tables.js';
import { chainsIn, type IpvsState } from '../ipvs/state-file.js';
import type { AgentOptions } from '../options.js';
import type { HeldSettings } from './ipvs-settings.js';
import type { Log } from './log.js';
import type { NodeFacts } from './plane.js';

type Options = Pick<AgentOptions, 'runFirewall' | 'defaultDenyUnknown' | 'keepEstablished' | 'takeoverGrace'>;

export class NftFirewall {
  readonly #tables: PolicyTables;
  readonly #isOn: boolean;
  readonly #settings: HeldSettings;
  readonly #log: Log;
  #bridged = false;
  #bridge: BridgeHeld;
  /** Its chains as they were left. */
  #bridgeMade: ChainDigests;
  #target: PolicyTarget | undefined;

  /** Adopts what is there, and what the last agent knew of it. Throws WEIR_TOOL. */
  constructor(options: Options, state: IpvsState | undefined, settings: HeldSettings, log: Log) {
    const { defaultDenyUnknown: denyUnknown, keepEstablished, takeoverGrace } = options;
    this.#bridge = readPolicyTable(BRIDGE_TABLE);
    this.#bridgeMade = chainsIn(state, BRIDGE_TABLE);
    const canLog = accepts(LOG_PROBE);
    if (!canLog && options.runFirewall)
      log('info', 'what policy denies is not sent to nflog group 100: the kernel lacks nft_log or nfnetlink_log');
    const tableOptions = { denyUnknown, keepEstablished, takeoverGrace, log: canLog };
    this.#tables = new PolicyTables(tableOptions, chainsIn(state, TABLE));
    this.#isOn = options.runFirewall;
    this.#settings = settings;
    this.#log = log;
  }

  /** Returns the number of entries written. */
  enforce(policy: PolicyTarget, facts: NodeFacts): number {
    if (!this.#isOn) return this.#remove();
    this.#target = policy;
    return this.#tables.enforce(policy, facts.roles) + this.#followBridges(facts);
  }

  /** Tells of the node's devices. */
  follow(facts: NodeFacts): number {
    return this.#isOn ? this.#tables.follow(facts.roles) + this.#followBridges(facts) : 0;
  }

  #remove(): number {
    const removed = this.#tables.remove();
    if (this.#bridge.version === '') return removed;
    removeTable(BRIDGE_TABLE);
    this.#bridge = readPolicyTable(BRIDGE_TABLE);
    return removed + 1;
  }

  #followBridges({ network, roles }: NodeFacts): number {
    if (!this.#target) return 0;
    const known = [...this.#target.subjects.keys()];
    const rows = bridgeRows(known, roles.pods, bindings(network, roles.pods, known));
    const { text, whole } = bridgeChange(this.#bridge, this.#bridgeMade, rows);
    if (text === '') return 0;
    applyRuleset(BRIDGE_TABLE, text);
    if (whole) this.#bridgeMade = readChains(BRIDGE_TABLE);
    this.#bridge = { rows, version: bridgeVersion(), chains: this.#bridgeMade };
    return 1;
  }

  /** Once pods are on bridges: packets between them are to cross FORWARD. Returns the settings changed. */
  openBridges({ roles: { bridges } }: NodeFacts): IpvsState['sysctls'] {
    if (!this.#isOn || this.#bridged || bridges.length === 0) return {};
    this.#bridged = true;
    if (BRIDGE_SETTINGS.every(({ path }) => readSysctl(path) !== undefined))
      return this.#settings.apply(BRIDGE_SETTINGS);
    const names = bridges.map(({ name }) => name).join();
    this.#log(
      'warn',
      `policy does not see what pods on the same bridge say to each other (${names}): modprobe br_netfilter, then start again`,
    );
    return {};
  }

  /** Reads the kernel again. Returns what another hand has changed there, in words for the log; the next `follow` undoes it. */
  recover(): string[] {
    const known = this.#bridge;
    const bridge = readPolicyTable(BRIDGE_TABLE);
    this.#bridge = bridge;
    return [...this.#tables.recover(), ...(this.#target ? foreignPolicy(known, bridge, BRIDGE_TABLE) : [])];
  }

  /** By table its chains as they were left. */
  get made(): readonly (readonly [table: string, chains: ChainDigests])[] {
    return [
      [TABLE, this.#tables.made],
      [BRIDGE_TABLE, this.#bridgeMade],
    ];
  }

  /** What is missing. */
  faults(): readonly string[] {
    return this.#tables.intact ? [] : ['the table inet weir-policy of nftables'];
  }
}
