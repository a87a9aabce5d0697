/** The services that IPVS is to serve, as this node places them, and which virtual servers are ours. */
import type { DesiredService } from '../core/desired.js';
import type { Ip } from '../core/net.js';
import { adoptedMarks, type Kernel, ownServers, takenAddresses } from '../ipvs/kernel.js';
import type { Marks } from '../ipvs/marks.js';
import { type NodeView, type Placed, placeService } from '../ipvs/placement.js';
import { claimedAddresses, type IpvsState } from '../ipvs/state-file.js';
import type { VirtualServers } from '../ipvs/virtual.js';

export class PlacedServices {
  readonly marks: Marks;
  readonly #desired = new Map<string, DesiredService>();
  readonly #placed = new Map<string, Placed>();
  /** What has these addresses is ours: those that the last agent meant to serve, and those of the virtual servers there are. */
  readonly #claimed: Set<Ip>;
  #taken: ReadonlySet<Ip> = new Set();
  readonly #view: (taken: ReadonlySet<Ip>) => NodeView;

  /** Adopts what the last agent left. `view`: the node as it is now. */
  constructor(state: IpvsState | undefined, kernel: Kernel, view: (taken: ReadonlySet<Ip>) => NodeView) {
    this.marks = adoptedMarks(kernel);
    this.#claimed = claimedAddresses(state);
    this.#view = view;
    for (const service of state?.services ?? []) this.#desired.set(service.key, service);
    this.#taken = takenAddresses(kernel, this.#claimed);
    this.placeAll();
  }

  get desired(): ReadonlyMap<string, DesiredService> {
    return this.#desired;
  }

  get placed(): ReadonlyMap<string, Placed> {
    return this.#placed;
  }

  /** Addresses at which another program has virtual servers: they are left alone. */
  get taken(): ReadonlySet<Ip> {
    return this.#taken;
  }

  apply(desired: readonly DesiredService[], gone: readonly string[]): void {
    for (const key of gone) {
      this.#desired.delete(key);
      this.#placed.delete(key);
    }
    const view = this.#view(this.#taken);
    for (const service of desired) {
      this.#desired.set(service.key, service);
      this.#placed.set(service.key, placeService(service, view, this.marks));
    }
  }

  /** The node has changed. */
  placeAll(): void {
    const view = this.#view(this.#taken);
    for (const [key, service] of this.#desired) this.#placed.set(key, placeService(service, view, this.marks));
  }

  /** The kernel has been read. Returns the virtual servers that are ours. */
  learn(kernel: Kernel): VirtualServers {
    const taken = takenAddresses(kernel, this.#claimed);
    if (JSON.stringify([...taken]) !== JSON.stringify([...this.#taken])) {
      this.#taken = taken;
      this.placeAll();
    }
    return ownServers(kernel, this.#claimed);
  }

  /** These were made. */
  claim(servers: VirtualServers): void {
    for (const { match } of servers.values()) if (match.kind === 'address') this.#claimed.add(match.address);
  }
}
