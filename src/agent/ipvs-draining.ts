/** Real servers that take nothing new and keep their connections: until when, and which have none left. */
import { type Deadlines, withDraining } from '../ipvs/drain.js';
import { readLoads } from '../ipvs/loads.js';
import type { Marks } from '../ipvs/marks.js';
import type { WantedServer } from '../ipvs/placement.js';
import type { VirtualServers } from '../ipvs/virtual.js';

/** ms between looks at the connections of removed backends. */
const LOADS_INTERVAL = 5_000;

export class Draining {
  /** ms. */
  readonly #timeout: number;
  #deadlines: Deadlines;
  #loadsRead = 0;

  /** `timeout`: ms that a removed one has; `deadlines`: as the last agent left them. */
  constructor(timeout: number, deadlines: Readonly<Record<string, number>>) {
    this.#timeout = timeout;
    this.#deadlines = new Map(Object.entries(deadlines));
  }

  /** ms since 1970, by `virtual server real server`. */
  get deadlines(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#deadlines);
  }

  /** What is wanted, and what of what is there goes on for its connections. */
  servers(have: VirtualServers, want: ReadonlyMap<string, WantedServer>, marks: Marks): VirtualServers {
    const { servers, deadlines } = withDraining(have, want, marks, this.#deadlines, Date.now(), this.#timeout);
    this.#deadlines = deadlines;
    return servers;
  }

  /** Those whose time is over. */
  over(): string[] {
    if (this.#deadlines.size === 0) return [];
    const now = Date.now();
    /* one without connections has nothing to wait for: nothing new comes to it */
    if (now >= this.#loadsRead + LOADS_INTERVAL) {
      const loads = readLoads();
      const holds = (name: string): boolean => {
        const { active, inactive } = loads.get(name) ?? { active: 0, inactive: 0 };
        return active + inactive > 0;
      };
      this.#deadlines = new Map([...this.#deadlines].map(([name, end]) => [name, holds(name) ? end : 0]));
      this.#loadsRead = now;
    }
    return [...this.#deadlines].filter(([, deadline]) => deadline <= now).map(([name]) => name);
  }
}
