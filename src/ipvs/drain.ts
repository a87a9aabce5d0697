/**
 * Graceful removal: a real server that is no longer wanted keeps the connections it has, with weight 0, until its deadline.
 * Not for UDP, whose clients would go on without end, and not for `dh`, which would choose it nevertheless.
 */
import type { WantedServer } from './placement.js';
import type { RealServer, VirtualServer, VirtualServers } from './virtual.js';

/** ms since 1970, by `virtual server real server`: until when a removed real server stays. */
export type Deadlines = ReadonlyMap<string, number>;

export interface Drained {
  readonly servers: ReadonlyMap<string, VirtualServer>;
  readonly deadlines: Deadlines;
}

/** What is wanted, and what stays of what is there. `grace` in ms. */
export function withDraining(
  have: VirtualServers,
  want: ReadonlyMap<string, WantedServer>,
  known: Deadlines,
  now: number,
  grace: number,
): Drained {
  const deadlines = new Map<string, number>();
  const servers = new Map<string, VirtualServer>();
  for (const [key, wanted] of want) {
    const kept = new Map<string, RealServer>();
    if (wanted.protocol !== 'UDP' && wanted.scheduler !== 'dh') {
      for (const [name, real] of have.get(key)?.servers ?? []) {
        if (wanted.servers.has(name)) continue;
        const deadline = known.get(`${key} ${name}`) ?? now + grace;
        if (deadline <= now) continue;
        deadlines.set(`${key} ${name}`, deadline);
        kept.set(name, { ...real, weight: 0 });
      }
    }
    servers.set(key, kept.size > 0 ? { ...wanted, servers: new Map([...wanted.servers, ...kept]) } : wanted);
  }
  return { servers, deadlines };
}
