/** Which addresses are services' own, external and load balancer ones: no node port is served there (kube-proxy's rule). */
import type { Ip } from './net.js';

export class VirtualAddresses {
  readonly #byService = new Map<string, readonly Ip[]>();
  readonly #holders = new Map<Ip, number>();

  has(address: Ip): boolean {
    return this.#holders.has(address);
  }

  /** Replaces what a service has. Returns the addresses that became, or ceased to be, some service's. */
  set(service: string, addresses: readonly Ip[]): Ip[] {
    const former = this.#byService.get(service) ?? [];
    const wanted = [...new Set(addresses)];
    const before = new Map([...former, ...wanted].map((address) => [address, this.has(address)]));
    for (const address of former) this.#count(address, -1);
    for (const address of wanted) this.#count(address, 1);
    if (wanted.length > 0) this.#byService.set(service, wanted);
    else this.#byService.delete(service);
    return [...before].flatMap(([address, held]) => (held === this.has(address) ? [] : [address]));
  }

  #count(address: Ip, change: number): void {
    const holders = (this.#holders.get(address) ?? 0) + change;
    if (holders > 0) this.#holders.set(address, holders);
    else this.#holders.delete(address);
  }
}
