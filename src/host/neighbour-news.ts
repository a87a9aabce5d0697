/**
 * Neighbours change their state all the time, the more of them the more often, and none of that matters here: only whether one has
 * a link layer address, and which. Told from the lines of `ip -o monitor label neigh`. Pure.
 */
export class NeighbourNews {
  /** By device and address. */
  readonly #known = new Map<string, string>();

  /** Whether a line tells anything new; what is not about a neighbour, or about a port of a bridge, always does. */
  heard(line: string): boolean {
    const [, deleted, ip, device, mac = ''] =
      /^\[NEIGH\](Deleted )?([0-9a-f.:]+) dev (\S+)(?: lladdr (\S+))?/.exec(line) ?? [];
    if (ip === undefined || device === undefined) return true;
    if (/ NOARP\s*$/.test(line)) return false; // groups, and nobody's address
    const key = `${device} ${ip}`;
    const known = this.#known.get(key);
    if (deleted === undefined) this.#known.set(key, mac);
    else this.#known.delete(key);
    return deleted !== undefined || mac !== known;
  }
}
