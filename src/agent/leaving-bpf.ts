/** The BPF dataplane while IPVS takes over: its programs go on with the flows that they know, and leave what is new to IPVS. */
import { openDataplane, type Dataplane } from '../loader/dataplane.js';
import { refuseOtherLayout } from '../maps/compatible.js';
import { MAPS, STAGE } from '../maps/layout.js';
import { openTable } from '../maps/table.js';
import { flowEntriesOf, readConfig } from './installed.js';
import { type Removal, removalOf } from './removal.js';
import type { Predecessor } from './takeover.js';

export class LeavingBpf implements Predecessor {
  readonly goesOn = 'IPVS has what is new; BPF goes on with the flows that it knows';
  readonly isLost =
    'IPVS does not know them: TCP connections are reset at their next packet, UDP flows get a backend anew';
  readonly #root: string;
  readonly #dataplane: Dataplane;

  /** Loads what counts flows; changes nothing. Throws as openDataplane does, and WEIR_LAYOUT. */
  constructor(root: string, objectPath: string) {
    this.#root = root;
    refuseOtherLayout(root);
    this.#dataplane = openDataplane({ objectPath, bpfRoot: root, flowEntries: flowEntriesOf(root) });
  }

  /** Whether an agent before this one has begun it. */
  get left(): boolean {
    return readConfig(this.#root)?.stage === STAGE.LEAVING;
  }

  /** From now on the programs leave what is new to IPVS. */
  leave(): void {
    const config = readConfig(this.#root);
    if (!config || config.stage === STAGE.LEAVING) return;
    using table = openTable(this.#root, MAPS.weir_config);
    table.set(0, { ...config, stage: STAGE.LEAVING, synced: 0 });
  }

  async remaining(): Promise<number> {
    return (await this.#dataplane.sweep()).kept;
  }

  removal(): Removal {
    return removalOf(this.#root, 'here', 'keep');
  }

  [Symbol.dispose](): void {
    this.#dataplane[Symbol.dispose]();
  }
}
