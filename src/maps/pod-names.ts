/** Whose address is whose among the pods of the cluster: names for who reads the tables, nothing that a packet depends on. */
import type { Ip } from '../core/net.js';
import { encodeOne, ipCodec } from './codec.js';
import { MAPS, type Name, nameCodec } from './layout.js';
import { openTable, type Table } from './table.js';

export class PodNames implements Disposable {
  readonly #table: Table<Ip, Name>;
  /** What the kernel has. */
  #held: Map<Ip, string>;

  /** Adopts what is pinned below root. */
  constructor(root: string) {
    this.#table = openTable(root, MAPS.weir_pods);
    this.#held = this.#read();
  }

  /** Reads the kernel again. */
  recover(): void {
    this.#held = this.#read();
  }

  /** Brings the table to the pods, by address as `ns/name`; those for whom there is no room stay without a name. */
  follow(pods: ReadonlyMap<Ip, string>): void {
    const gone = [...this.#held.keys()].filter((ip) => !pods.has(ip));
    this.#table.deleteEncoded(gone.map(encodedIp));
    for (const ip of gone) this.#held.delete(ip);
    const changed = [...pods].filter(([ip, name]) => this.#held.get(ip) !== name);
    const fresh = changed.filter(([ip]) => !this.#held.has(ip));
    const left = new Set(fresh.slice(Math.max(0, this.#table.maxEntries - this.#held.size)));
    const writes = changed.filter((each) => !left.has(each));
    this.#table.putEncoded(
      writes.map(([ip, text]) => ({ key: encodedIp(ip), value: encodeOne(nameCodec, { text }).toString('latin1') })),
    );
    for (const [ip, name] of writes) this.#held.set(ip, name);
  }

  [Symbol.dispose](): void {
    this.#table[Symbol.dispose]();
  }

  #read(): Map<Ip, string> {
    return new Map([...this.#table.entries()].map(([ip, { text }]) => [ip, text]));
  }
}

function encodedIp(ip: Ip): string {
  return encodeOne(ipCodec, ip).toString('latin1');
}
