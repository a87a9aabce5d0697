/** Brings the kernel's tables to what is desired: services and the endpoints on this node, in the order that loses no packet. */
import type { DesiredService } from '../core/desired.js';
import type { Problem } from '../core/model.js';
import type { Ip } from '../core/net.js';
import { WeirError } from '../errors.js';
import { monotonicMs } from '../loader/clock.js';
import type { KernelTables } from '../maps/kernel-tables.js';
import { type NodeState, NodeTables } from '../maps/node.js';
import { localEndpoints } from '../maps/local-endpoints.js';
import { ServiceTables } from '../maps/services.js';

type Endpoints = ReadonlyMap<Ip, { readonly host: boolean }>;

export interface Applied {
  readonly writes: number;
  /** A backend has come, gone or changed: flows may have to end. */
  readonly backendsChanged: boolean;
}

export class Applier {
  readonly #tables: KernelTables;
  readonly #node: NodeTables;
  readonly #describeNode: (endpoints: Endpoints) => NodeState;
  readonly #report: (problem: Problem) => void;
  /** ms for which a removed backend keeps its TCP flows. */
  readonly #drain: number;
  #services: ServiceTables;
  /** Addresses of the endpoints on this node, by service. */
  readonly #local = new Map<string, Endpoints>();
  /** Services that did not fit, with what was said of them. */
  readonly #unserved = new Map<string, string>();

  /** `describeNode` tells the rest of the node's tables, given the endpoints on it; `drain` in ms. */
  constructor(
    tables: KernelTables,
    describeNode: (endpoints: Endpoints) => NodeState,
    report: (problem: Problem) => void,
    drain: number,
  ) {
    this.#tables = tables;
    this.#node = new NodeTables(tables);
    this.#describeNode = describeNode;
    this.#report = report;
    this.#drain = drain;
    this.#services = this.#adopt();
  }

  /** The services that the kernel holds something of. */
  services(): string[] {
    return this.#services.services();
  }

  /** Services that did not fit into the maps. */
  unserved(): Iterable<string> {
    return this.#unserved.keys();
  }

  /** Services with a backend whose grace has ended. */
  drained(): string[] {
    return this.#services.drained();
  }

  /** Reads the kernel again: what it holds is the truth after anything has gone wrong. */
  recover(): void {
    this.#services = this.#adopt();
  }

  /** Returns the number of entries written. */
  syncNode(): number {
    const endpoints = new Map<Ip, { readonly host: boolean }>();
    for (const addresses of this.#local.values()) for (const [ip, what] of addresses) endpoints.set(ip, what);
    return this.#node.sync(this.#describeNode(endpoints));
  }

  /** Where not all fits into the maps, what fits is served, and the rest reported by name and left as it was. */
  apply(desired: readonly DesiredService[], gone: readonly string[]): Applied {
    for (const key of gone) this.#unserved.delete(key);
    try {
      const applied = this.#together(desired, gone);
      for (const { key } of desired) this.#unserved.delete(key);
      return applied;
    } catch (error) {
      if (!isFull(error)) throw error;
      this.recover();
    }
    const applied = [this.#together([], gone)];
    for (const service of desired) {
      try {
        applied.push(this.#together([service], []));
        this.#unserved.delete(service.key);
      } catch (error) {
        if (!isFull(error)) throw error;
        this.#leave(service, error.message);
      }
    }
    return {
      writes: applied.reduce((sum, { writes }) => sum + writes, 0),
      backendsChanged: applied.some(({ backendsChanged }) => backendsChanged),
    };
  }

  /** A service that did not fit: named once, and tried again later. */
  #leave({ key, about }: DesiredService, message: string): void {
    if (this.#unserved.get(key) !== message) {
      const event = { about, reason: 'ServiceDoesNotFit' } as const;
      this.#report({ object: `Service ${key}`, field: '', message, code: 'WEIR_FULL', event });
    }
    this.#unserved.set(key, message);
    this.recover();
  }

  #together(desired: readonly DesiredService[], gone: readonly string[]): Applied {
    const change = this.#services.prepare(desired, gone);
    const steps = [...change.next].map(([key, rows]) => {
      const before = this.#local.get(key) ?? NONE;
      return { key, before, after: localEndpoints(rows) };
    });
    const moved = steps.filter(({ before, after }) => !sameEndpoints(before, after));
    /* an endpoint is known before the first packet can come for it, and until the last one may have */
    for (const { key, before, after } of moved) this.#local.set(key, new Map([...before, ...after]));
    let writes = moved.length > 0 ? this.syncNode() : 0;
    writes += this.#services.commit(change);
    for (const { key, after } of moved) {
      if (after.size > 0) this.#local.set(key, after);
      else this.#local.delete(key);
    }
    if (moved.length > 0) writes += this.syncNode();
    return { writes, backendsChanged: change.writes.some((write) => write.row.table === 'weir_backends') };
  }

  #adopt(): ServiceTables {
    const services = new ServiceTables(this.#tables, { drain: this.#drain, clock: monotonicMs });
    this.#local.clear();
    for (const [key, rows] of services.rows()) {
      const endpoints = localEndpoints(rows);
      if (endpoints.size > 0) this.#local.set(key, endpoints);
    }
    return services;
  }
}

const NONE: Endpoints = new Map();

function sameEndpoints(a: Endpoints, b: Endpoints): boolean {
  return a.size === b.size && [...a].every(([ip, { host }]) => b.get(ip)?.host === host);
}

function isFull(error: unknown): error is WeirError {
  return error instanceof WeirError && error.code === 'WEIR_FULL';
}
