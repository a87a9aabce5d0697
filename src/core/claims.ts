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
    const affected = new Set<string>();
    for (const address of this.#byService.get(claimant.service) ?? []) this.#withdraw(claimant.service, address, affected);
    for (const address of new Set(addresses)) this.#add(claimant, address, affected);
    if (addresses.length > 0) this.#byService.set(claimant.service, [...new Set(addresses)]);
    else this.#byService.delete(claimant.service);
    affected.delete(claimant.service);
    return affected;
  }

  /** The service that an address belongs to. */
  owner(address: string): string | undefined {
    return this.#byAddress.get(address)?.[0]?.service;
  }

  #add(claimant: Claimant, address: string, affected: Set<string>): void {
    const list = this.#byAddress.get(address);
    if (!list) {
      this.#byAddress.set(address, [claimant]);
      return;
    }
    const before = list[0]?.service;
    list.push(claimant);
    list.sort(bySeniority);
    if (before !== undefined && list[0]?.service !== before) affected.add(before);
  }

  #withdraw(service: string, address: string, affected: Set<string>): void {
    const list = this.#byAddress.get(address) ?? [];
    const rest = list.filter((claimant) => claimant.service !== service);
    if (rest.length === 0) this.#byAddress.delete(address);
    else this.#byAddress.set(address, rest);
    const heir = rest[0]?.service;
    if (list[0]?.service === service && heir !== undefined) affected.add(heir);
  }
}

function bySeniority(a: Claimant, b: Claimant): number {
  if (a.created !== b.created) return (a.created || Infinity) - (b.created || Infinity);
  if (a.uid !== b.uid) return a.uid < b.uid ? -1 : 1;
  return a.service < b.service ? -1 : a.service > b.service ? 1 : 0;
}
