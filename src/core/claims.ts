/**
 * Who owns an address and port that several services claim: the oldest, then the lowest uid, then the first by name, so that
 * every node decides alike whatever the order of events.
 */

export interface Claimant {
  /** `namespace/name` */
  readonly service: string;
  readonly created: number;
  readonly uid: string;
}

export class Claims {
  readonly #byAddress = new Map<string, Claimant[]>();
  readonly #byService = new Map<string, readonly string[]>();

  /** Replaces what a service claims. Returns the other services whose ownership of an address has changed. */
  set(claimant: Claimant, addresses: readonly string[]): Set<string> {
    const former = this.#byService.get(claimant.service) ?? [];
    const wanted = [...new Set(addresses)];
    const owners = new Map([...former, ...wanted].map((address) => [address, this.owner(address)]));
    for (const address of former) this.#withdraw(claimant.service, address);
    for (const address of wanted) this.#add(claimant, address);
    if (wanted.length > 0) this.#byService.set(claimant.service, wanted);
    else this.#byService.delete(claimant.service);
    const affected = new Set<string>();
    for (const [address, before] of owners) {
      const now = this.owner(address);
      for (const service of now === before ? [] : [before, now]) if (service !== undefined) affected.add(service);
    }
    affected.delete(claimant.service);
    return affected;
  }

  /** The service that an address belongs to. */
  owner(address: string): string | undefined {
    return this.#byAddress.get(address)?.[0]?.service;
  }

  #add(claimant: Claimant, address: string): void {
    const others = this.#byAddress.get(address) ?? [];
    this.#byAddress.set(address, [...others, claimant].sort(bySeniority));
  }

  #withdraw(service: string, address: string): void {
    const rest = this.#byAddress.get(address)?.filter((claimant) => claimant.service !== service) ?? [];
    if (rest.length === 0) this.#byAddress.delete(address);
    else this.#byAddress.set(address, rest);
  }
}

function bySeniority(a: Claimant, b: Claimant): number {
  if (a.created !== b.created) return (a.created || Infinity) - (b.created || Infinity);
  if (a.uid !== b.uid) return a.uid < b.uid ? -1 : 1;
  return a.service < b.service ? -1 : a.service > b.service ? 1 : 0;
}
