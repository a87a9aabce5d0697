/** The IPVS dataplane while BPF takes over: BPF leaves it the connections and flows that only IPVS can know. */
import type { Ip } from '../core/net.js';
import { isForwarding } from '../host/sysctl.js';
import { type Connection, listConnections, listConnectionsLater, parseLive } from '../ipvs/connections.js';
import { readVirtualServers } from '../ipvs/ipvsadm.js';
import { ownServers } from '../ipvs/kernel.js';
import { readLoads } from '../ipvs/loads.js';
import { claimedAddresses, type IpvsState, stateDirectory } from '../ipvs/state-file.js';
import { behindTunnels } from '../ipvs/tunnels.js';
import { ticksPerSecond } from '../loader/clock.js';
import { keepAffinity, leaveFlows } from './clients-of-ipvs.js';
import { ipvsRemoval } from './ipvs-removal.js';
import type { Removal } from './removal.js';
import type { Predecessor } from './takeover.js';

/** ms for which the agent may stand still to write down what IPVS knows: before Linux 6.14 that grows with the square. */
const LEAVE_LIMIT = 5_000;

export class LeavingIpvs implements Predecessor {
  readonly goesOn =
    'BPF has what is new; IPVS goes on with the connections and flows that it has. Session affinity that IPVS hashed begins anew, ' +
    'and UDP and SCTP flows through tunnels to nodes with several backends of the service';
  readonly isLost =
    'BPF does not know them: TCP connections are reset at their next packet, UDP and SCTP flows get a backend anew';
  readonly #root: string;
  readonly #directory: string;
  readonly #state: Pick<IpvsState, 'services' | 'nodes'>;
  readonly #claimed: ReadonlySet<Ip>;
  readonly #addresses: ReadonlySet<Ip>;

  /** Others' virtual servers are of no concern. */
  readonly #isOurs = ({ frontend }: Connection): boolean => this.#addresses.has(frontend.address);

  /** `state`: as its agent has left it. */
  constructor(bpfRoot: string, state: IpvsState) {
    this.#root = bpfRoot;
    this.#directory = stateDirectory(bpfRoot);
    this.#state = state;
    this.#claimed = claimedAddresses(state);
    /* a node port that came through a tunnel names the other node's address */
    this.#addresses = new Set([...this.#claimed, ...Object.values(state.nodes).flat()]);
  }

  /**
   * From now on, `now` in kernel ticks, the programs of BPF leave it those flows alone that it knows already. Returns what had to
   * be written down for that: flows of datagrams, and clients that keep their backend. Throws WEIR_TOOL, WEIR_FULL.
   */
  leave(now: bigint): { flows: number; clients: number } {
    const toBackend = behindTunnels(this.#state.services, this.#state.nodes);
    const known = (list: readonly Connection[]): Connection[] => list.filter(this.#isOurs).map(toBackend);
    const { connections, templates } = parseLive(listConnections(LEAVE_LIMIT));
    const flows = leaveFlows(this.#root, known(connections), now);
    const clients = keepAffinity(this.#root, known(templates), now, ticksPerSecond());
    return { flows, clients };
  }

  /** At least: those that are not established are counted where no other is left. */
  async remaining(): Promise<number> {
    const ours = ownServers({ servers: readVirtualServers(), addresses: new Set() }, this.#claimed);
    const loads = [...readLoads().values()].filter(({ virtual }) => ours.has(virtual));
    const established = loads.reduce((sum, { active }) => sum + active, 0);
    if (established > 0 || loads.every(({ inactive }) => inactive === 0)) return established;
    return parseLive(await listConnectionsLater()).connections.filter(this.#isOurs).length;
  }

  removal(): Removal {
    return ipvsRemoval(this.#directory, isForwarding);
  }

  [Symbol.dispose](): void {
    /* nothing is held open */
  }
}
