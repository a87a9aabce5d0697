/** The IPVS dataplane while BPF takes over: BPF leaves it the TCP segments of connections that only IPVS can know. */
import { isForwarding } from '../host/sysctl.js';
import { liveConnections } from '../ipvs/connections.js';
import { readState, stateDirectory } from '../ipvs/state-file.js';
import { addressesOf } from '../ipvs/wanted.js';
import { ipvsRemoval } from './ipvs-removal.js';
import type { Removal } from './removal.js';
import type { Predecessor } from './takeover.js';

export class LeavingIpvs implements Predecessor {
  readonly goesOn =
    'BPF has what is new; IPVS goes on with its TCP connections. UDP and SCTP flows get a backend anew, and session affinity begins anew';
  readonly isLost = 'BPF does not know them: they are reset at their next packet';
  readonly #directory: string;
  readonly #addresses: ReadonlySet<string>;

  constructor(bpfRoot: string) {
    this.#directory = stateDirectory(bpfRoot);
    this.#addresses = new Set((readState(this.#directory)?.services ?? []).flatMap(addressesOf));
  }

  /** Others' virtual servers are of no concern. */
  remaining(): number {
    const ours = liveConnections().filter(
      ({ protocol, frontend }) => protocol === 'TCP' && this.#addresses.has(frontend.address),
    );
    return ours.length;
  }

  removal(): Removal {
    return ipvsRemoval(this.#directory, isForwarding);
  }

  [Symbol.dispose](): void {
    /* nothing is held open */
  }
}
