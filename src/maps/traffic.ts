/** What this node has sent to and from each backend, as the programs count it. */
import type { Ip } from '../core/net.js';
import { type Backend, MAPS, type Traffic } from './layout.js';
import { openTable, type Table } from './table.js';

export interface Amount {
  readonly packets: bigint;
  readonly bytes: bigint;
}

export interface BackendTraffic {
  /** Number of the backend in weir_backends: another number, another counter. */
  readonly id: number;
  /** `Service namespace/name:port`; '' where the name is lost. */
  readonly service: string;
  readonly address: Ip;
  readonly port: number;
  /** IP protocol number. */
  readonly protocol: number;
  /** Live flows, as lc compares them: exact but for what the kernel has evicted since the last sweep. */
  readonly flows: number;
  /** From clients to the backend, and back where replies pass this node. Since the maps were made; grows only. */
  readonly forward: Amount;
  readonly reply: Amount;
}

/**
 * Flows, packets and bytes of every backend, those that are leaving included. Bytes count from the network header on. Backends
 * whose number lies beyond weir_traffic's end have no packets. Throws WEIR_NOT_INSTALLED, WEIR_LAYOUT.
 */
export class TrafficReader implements Disposable {
  readonly #names: Table<number, { readonly text: string }>;
  readonly #backends: Table<number, Backend>;
  readonly #loads: Table<number, { readonly flows: number }>;
  readonly #traffic: Table<number, Traffic>;

  constructor(root: string) {
    this.#names = openTable(root, MAPS.weir_names);
    this.#backends = openTable(root, MAPS.weir_backends);
    this.#loads = openTable(root, MAPS.weir_loads);
    this.#traffic = openTable(root, MAPS.weir_traffic);
  }

  *read(): Generator<BackendTraffic> {
    const names = new Map<number, string>();
    for (const [id, { address, port, protocol, service }] of this.#backends.entries()) {
      const name = names.get(service) ?? this.#names.get(service)?.text ?? '';
      names.set(service, name);
      const cores = this.#traffic.perCpu(id);
      const sum = (field: keyof Traffic): bigint => cores.reduce((total, core) => total + core[field], 0n);
      yield {
        ...{ id, service: name, address, port, protocol },
        flows: Math.max(0, (this.#loads.get(id)?.flows ?? 0) | 0), // for a moment it may be less than nothing
        forward: { packets: sum('packets'), bytes: sum('bytes') },
        reply: { packets: sum('replyPackets'), bytes: sum('replyBytes') },
      };
    }
  }

  [Symbol.dispose](): void {
    for (const table of [this.#names, this.#backends, this.#loads, this.#traffic]) table[Symbol.dispose]();
  }
}
