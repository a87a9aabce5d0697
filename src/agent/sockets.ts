/** Processes of this host that speak to services: the programs at their cgroup, and the end of sockets that cannot be moved. */
import { ipFromBytes, PROTOCOL_NUMBER } from '../core/net.js';
import { describeError } from '../errors.js';
import { detachSockets, socketsAttached } from '../loader/cgroup.js';
import type { Dataplane } from '../loader/dataplane.js';
import { connectedUdpSockets, destroySocket, type UdpSocket } from '../loader/sock-diag.js';
import { type Backend, BACKEND_STATE, MAPS, SOCKET_SIDE, type SocketKey, type SocketPeer } from '../maps/layout.js';
import { openTable, type Table } from '../maps/table.js';
import type { Log } from './log.js';

export class Sockets implements Disposable {
  readonly #dataplane: Dataplane;
  readonly #cgroup: string | undefined;
  readonly #log: Log;
  readonly #sockets: Table<SocketKey, SocketPeer>;
  readonly #backends: Table<number, Backend>;
  #canEnd = true;
  /** Why the programs are not at the cgroup, as was said last. */
  #fault: string | undefined;

  /** `cgroup` undefined: no process is served. */
  constructor(dataplane: Dataplane, cgroup: string | undefined, log: Log) {
    this.#dataplane = dataplane;
    this.#cgroup = cgroup;
    this.#log = log;
    this.#sockets = openTable(dataplane.root, MAPS.weir_sockets);
    this.#backends = openTable(dataplane.root, MAPS.weir_backends);
  }

  /** Puts the programs at the cgroup, or removes those of an agent that was told to. Throws as attachSockets does. */
  attach(): void {
    if (this.#cgroup !== undefined) {
      this.#dataplane.attachSockets(this.#cgroup);
      this.#log('info', `attached cgroup=${this.#cgroup}`);
      this.endStale();
    } else if (detachSockets(this.#dataplane.root).length > 0) {
      this.#log('info', 'detached from the cgroup: there is no --cgroup any more');
    }
  }

  /** What is wrong with the programs at the cgroup. Those that somebody has taken away are put back. */
  inspect(): string[] {
    if (this.#cgroup === undefined || socketsAttached(this.#dataplane.root, this.#cgroup)) {
      this.#fault = undefined;
      return [];
    }
    let fault = `the programs are gone from the cgroup ${this.#cgroup}`;
    try {
      this.#dataplane.attachSockets(this.#cgroup);
    } catch (error) {
      fault = describeError(error);
    }
    if (fault !== this.#fault) this.#log('warn', fault);
    this.#fault = fault;
    return [fault];
  }

  /**
   * Ends the connected UDP sockets whose backend takes nothing new: nothing that they send is looked at any more, so they would
   * never reach another. Their processes connect anew. TCP goes on until its backend closes.
   */
  endStale(): void {
    if (this.#cgroup === undefined || !this.#canEnd) return;
    try {
      const stale = connectedUdpSockets().filter((socket) => this.#isStale(socket));
      this.#canEnd = stale.every(destroySocket);
      if (!this.#canEnd) this.#log('warn', CANNOT_END);
      else if (stale.length > 0)
        this.#log('info', `ended sockets=${stale.length}: their UDP backends take nothing new`);
    } catch (error) {
      this.#log('error', describeError(error));
    }
  }

  [Symbol.dispose](): void {
    this.#sockets[Symbol.dispose]();
    this.#backends[Symbol.dispose]();
  }

  #isStale({ cookie, address: bytes, port }: UdpSocket): boolean {
    const address = ipFromBytes(bytes);
    const key = { cookie, address, port, protocol: PROTOCOL_NUMBER.UDP, side: SOCKET_SIDE.BACKEND };
    const peer = this.#sockets.get(key);
    if (!peer) return false; // none of ours
    const backend = this.#backends.get(peer.backend);
    return backend?.state !== BACKEND_STATE.ACTIVE || backend.address !== address || backend.port !== port;
  }
}

const CANNOT_END =
  'cannot end UDP sockets of removed backends: this kernel has no CONFIG_INET_DIAG_DESTROY, their processes must connect anew by themselves';
