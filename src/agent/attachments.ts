/** Which devices carry our programs: put there once, replaced atomically by the next agent, gone with the device. */
import type { Link, Network, Roles } from '../core/network.js';
import { describeError } from '../errors.js';
import type { Dataplane } from '../loader/dataplane.js';
import type { XdpRequest } from '../loader/xdp.js';
import type { Log } from './log.js';

type Role = 'uplink' | 'pod';

interface Attached {
  readonly link: Link;
  readonly role: Role;
  /** The XDP program is there too. */
  readonly xdp: boolean;
}

/** Devices that one look takes in: a node with hundreds of pods is looked over in a minute. */
const AT_ONCE = 4;

export class Attachments {
  readonly #dataplane: Dataplane;
  readonly #request: XdpRequest;
  readonly #log: Log;
  readonly #attached = new Map<number, Attached>();
  readonly #xdp = new Set<number>();
  /** Why devices that should carry programs do not, by interface index. */
  readonly #missing = new Map<number, string>();
  /** What was said of devices to which nothing could be attached. */
  readonly #failures = new Map<number, string>();
  /** Those to be looked at before the round begins again. */
  #round: number[] = [];

  constructor(dataplane: Dataplane, request: XdpRequest, log: Log) {
    this.#dataplane = dataplane;
    this.#request = request;
    this.#log = log;
  }

  /** Devices that take frames which XDP redirects to them. */
  get xdp(): ReadonlySet<number> {
    return this.#xdp;
  }

  /** How many devices carry programs, by role. */
  counts(): { role: string; count: number }[] {
    const roles = [...this.#attached.values()].map(({ role }) => role);
    return (['uplink', 'pod'] as const).map((role) => ({ role, count: roles.filter((each) => each === role).length }));
  }

  /** Puts the programs onto every device that should have them and has not. */
  follow(network: Network, roles: Roles): void {
    const present = new Set(network.links.map((link) => link.ifindex));
    for (const ifindex of [...this.#attached.keys(), ...this.#missing.keys()]) {
      if (!present.has(ifindex)) this.#forget(ifindex);
    }
    for (const link of roles.uplinks) this.#attach(link, 'uplink');
    for (const link of roles.pods) this.#attach(link, 'pod');
  }

  /**
   * Looks at some of the devices, in turn. One that has lost a program counts as without any, so that `follow` puts them back.
   * Returns what is missing: programs taken away by another hand, and uplinks that never got theirs.
   */
  inspect(): string[] {
    if (this.#round.length === 0) this.#round = [...this.#attached.keys()];
    for (const ifindex of this.#round.splice(0, AT_ONCE)) {
      const attached = this.#attached.get(ifindex);
      if (!attached || this.#dataplane.isAttached(attached.link, attached.xdp)) continue;
      this.#forget(ifindex);
      this.#missing.set(ifindex, `the programs are gone from device ${attached.link.name}`);
      this.#log('warn', `device=${attached.link.name} has lost its programs: putting them back`);
    }
    return [...this.#missing.values()];
  }

  #forget(ifindex: number): void {
    this.#attached.delete(ifindex);
    this.#xdp.delete(ifindex);
    this.#missing.delete(ifindex);
    this.#failures.delete(ifindex);
  }

  #attach(link: Link, role: Role): void {
    const { ifindex, name } = link;
    if (this.#attached.get(ifindex)?.role === role) return;
    let balanced = false;
    try {
      this.#dataplane.attachTc(link, 'ingress', role === 'uplink' ? 'weir_up_in' : 'weir_pod_in');
      this.#dataplane.attachTc(link, 'egress', role === 'uplink' ? 'weir_up_out' : 'weir_pod_out');
      balanced = true;
      let xdp = '';
      let mode = 'off';
      if (role === 'uplink') {
        const outcome = this.#dataplane.attachXdp(link, this.#request);
        mode = outcome.mode;
        xdp = ` xdp=${mode} (${outcome.reason})`;
        if (mode === 'native') this.#xdp.add(ifindex);
      }
      this.#attached.set(ifindex, { link, role, xdp: mode !== 'off' });
      this.#failures.delete(ifindex);
      this.#log('info', `attached device=${name} role=${role}${xdp}`);
    } catch (error) {
      this.#failed(ifindex, `attach to ${name}: ${describeError(error)}`);
    }
    /* a pod's device may be gone before it is reached; an uplink without programs serves nobody */
    if (balanced) this.#missing.delete(ifindex);
    else if (role === 'uplink') this.#missing.set(ifindex, `device ${name} carries no programs`);
  }

  /** Tried again with every look at the network, and said once. */
  #failed(ifindex: number, message: string): void {
    if (this.#failures.get(ifindex) !== message) this.#log('error', message);
    this.#failures.set(ifindex, message);
  }
}
