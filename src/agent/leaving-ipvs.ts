/** The IPVS dataplane while BPF takes over: BPF leaves it the connections and flows that only IPVS can know. */
import { isForwarding } from '../host/sysctl.js';
import { type Connection, readLive } from '../ipvs/connections.js';
import { type IpvsState, stateDirectory } from '../ipvs/state-file.js';
import { behindTunnels } from '../ipvs/tunnels.js';
import { addressesOf } from '../ipvs/wanted.js';
import { ticksPerSecond } from '../loader/clock.js';
import { keepAffinity, leaveFlows } from './clients-of-ipvs.js';
import { ipvsRemoval } from './ipvs-removal.js';
import type { Removal } from './removal.js';
import type { Predecessor } from './takeover.js';

export class LeavingIpvs implements Predecessor {
  readonly goesOn =
    'BPF has what is new; IPVS goes on with the connections and flows that it has. Session affinity that IPVS hashed begins anew, ' +
    'and UDP and SCTP flows through tunnels to nodes with several backends of the service';
  readonly isLost =
    'BPF does not know them: TCP connections are reset at their next packet, UDP and SCTP flows get a backend anew';
  readonly #root: string;
  readonly #directory: string;
  readonly #state: Pick<IpvsState, 'services' | 'nodes'>;
  readonly #addresses: ReadonlySet<string>;

  /** Others' virtual servers are of no concern. */
  readonly #isOurs = ({ frontend }: Connection): boolean => this.#addresses.has(frontend.address);

  /** `state`: as its agent has left it. */
  constructor(bpfRoot: string, state: IpvsState) {
    this.#root = bpfRoot;
    this.#directory = stateDirectory(bpfRoot);
    this.#state = state;
    const { services, nodes } = state;
    /* a node port that came through a tunnel names the other node's address */
    this.#addresses = new Set([...services.flatMap(addressesOf), ...Object.values(nodes).flat()]);
  }

  /**
   * From now on, `now` in kernel ticks, the programs of BPF leave it those flows alone that it knows already. Returns what had to
   * be written down for that: flows of datagrams, and clients that keep their backend. Throws WEIR_TOOL, WEIR_FULL.
   */
  leave(now: bigint): { flows: number; clients: number } {
    const toBackend = behindTunnels(this.#state.services, this.#state.nodes);
    const known = (list: readonly Connection[]): Connection[] => list.filter(this.#isOurs).map(toBackend);
    const { connections, templates } = readLive();
    const flows = leaveFlows(this.#root, known(connections), now);
    const clients = keepAffinity(this.#root, known(templates), now, ticksPerSecond());
    return { flows, clients };
  }

  remaining(): number {
    return readLive().connections.filter(this.#isOurs).length;
  }

  removal(): Removal {
    return ipvsRemoval(this.#directory, isForwarding);
  }

  [Symbol.dispose](): void {
    /* nothing is held open */
  }
}
