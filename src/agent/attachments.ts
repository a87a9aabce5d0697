/** Which devices carry our programs: put there once, replaced atomically by the next agent, gone with the device. */
import type { Link, Network, Roles } from '../core/network.js';
import { describeError } from '../errors.js';
import type { Dataplane } from '../loader/dataplane.js';
import type { XdpRequest } from '../loader/xdp.js';
import type { Log } from './log.js';

type Role = 'uplink' | 'pod';

export class Attachments {
  readonly #dataplane: Dataplane;
  readonly #request: XdpRequest;
  readonly #log: Log;
  readonly #attached = new Map<number, Role>();
  readonly #xdp = new Set<number>();

  constructor(dataplane: Dataplane, request: XdpRequest, log: Log) {
    this.#dataplane = dataplane;
    this.#request = request;
    this.#log = log;
  }

  /** Devices that take frames which XDP redirects to them. */
  get xdp(): ReadonlySet<number> {
    return this.#xdp;
  }

  /** Puts the programs onto every device that should have them and has not. */
  follow(network: Network, roles: Roles): void {
    const present = new Set(network.links.map((link) => link.ifindex));
    for (const ifindex of this.#attached.keys()) if (!present.has(ifindex)) this.#forget(ifindex);
    for (const link of roles.uplinks) this.#attach(link, 'uplink');
    for (const link of roles.pods) this.#attach(link, 'pod');
  }

  #forget(ifindex: number): void {
    this.#attached.delete(ifindex);
    this.#xdp.delete(ifindex);
  }

  #attach(link: Link, role: Role): void {
    if (this.#attached.get(link.ifindex) === role) return;
    try {
      this.#dataplane.attachTc(link, 'ingress', role === 'uplink' ? 'weir_up_in' : 'weir_pod_in');
      this.#dataplane.attachTc(link, 'egress', role === 'uplink' ? 'weir_up_out' : 'weir_pod_out');
      let xdp = '';
      if (role === 'uplink') {
        const outcome = this.#dataplane.attachXdp(link, this.#request);
        xdp = ` xdp=${outcome.mode} (${outcome.reason})`;
        if (outcome.mode === 'native') this.#xdp.add(link.ifindex);
      }
      this.#attached.set(link.ifindex, role);
      this.#log('info', `attached device=${link.name} role=${role}${xdp}`);
    } catch (error) {
      this.#log('error', `attach to ${link.name}: ${describeError(error)}`);
    }
  }
}
