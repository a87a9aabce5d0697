/**
 * Graceful removal: a real server that is no longer wanted keeps the connections it has, with weight 0, until its deadline; one
 * that still serves others has none. So does a virtual server that its frontend no longer has, because it is told from others by
 * a mark now, or by its address. Not for UDP, whose clients would go on without end, and not for `dh`, which would choose it
 * nevertheless.
 */
import { frontendOfMark, type Marks } from './marks.js';
import { frontendKey, type WantedServer } from './placement.js';
import { matchText, type Match, type RealServer, type VirtualServer, type VirtualServers } from './virtual.js';

/** ms since 1970, by `virtual server real server`: until when a removed real server stays. */
export type Deadlines = ReadonlyMap<string, number>;

/** ms since 1970: for as long as its connections last. */
const NEVER = Number.MAX_SAFE_INTEGER;

export interface Drained {
  readonly servers: ReadonlyMap<string, VirtualServer>;
  readonly deadlines: Deadlines;
}

/** What is wanted, and what stays of what is there. `grace` in ms. */
export function withDraining(
  have: VirtualServers,
  want: ReadonlyMap<string, WantedServer>,
  marks: Pick<Marks, 'nameOf'>,
  known: Deadlines,
  now: number,
  grace: number,
): Drained {
  const deadlines = new Map<string, number>();
  const servers = new Map<string, VirtualServer>();
  const kept = (key: string, wanted: ReadonlyMap<string, RealServer>, serving?: ReadonlySet<string>) => {
    const rest = [...(have.get(key)?.servers ?? [])].filter(([name]) => !wanted.has(name));
    return rest.flatMap(([name, real]): [string, RealServer][] => {
      const id = `${key} ${name}`;
      const before = known.get(id) ?? NEVER;
      const deadline = Math.min(before, serving?.has(name) ? NEVER : now + grace);
      if (deadline <= now) return [];
      deadlines.set(id, deadline);
      return [[name, { ...real, weight: 0 }]];
    });
  };
  for (const [key, wanted] of want) {
    const more = isKept(wanted.protocol, wanted.scheduler) ? kept(key, wanted.servers, wanted.serving) : [];
    servers.set(key, more.length > 0 ? { ...wanted, servers: new Map([...wanted.servers, ...more]) } : wanted);
  }
  const frontends = new Map([...want.values()].map((server) => [server.frontend, server]));
  for (const [key, server] of have) {
    const wanted = want.has(key) ? undefined : frontends.get(frontendOf(server.match, marks));
    if (!wanted || !isKept(wanted.protocol, server.scheduler)) continue;
    const more = kept(key, NONE, wanted.serving);
    if (more.length > 0) servers.set(key, { ...server, servers: new Map(more) });
  }
  return { servers, deadlines };
}

const NONE: ReadonlyMap<string, RealServer> = new Map();

function isKept(protocol: string, scheduler: string): boolean {
  return protocol !== 'UDP' && scheduler !== 'dh';
}

function frontendOf(match: Match, marks: Pick<Marks, 'nameOf'>): string {
  return match.kind === 'address' ? frontendKey(match) : frontendOfMark(marks.nameOf(match.mark) ?? matchText(match));
}
