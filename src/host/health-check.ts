/** The servers at healthCheckNodePort, one for each service that has it, as its endpoints come and go. */
import type { RequestListener } from 'node:http';
import { type HealthCheck, healthCheckAnswer } from '../core/health-check.js';
import type { ObjectReference } from '../core/model.js';
import type { Ip } from '../core/net.js';
import { serveHttp } from './listen.js';

/** Where the servers listen: on these addresses of the node, or on all that it has and will have. */
export type Everywhere = readonly Ip[] | 'all';

interface Entry {
  about: ObjectReference;
  check: HealthCheck;
  readonly servers: Map<string, AsyncDisposable>;
}

export class HealthChecks implements AsyncDisposable {
  readonly #healthy: () => boolean;
  readonly #failed: (service: ObjectReference, reason: string) => void;
  readonly #entries = new Map<string, Entry>();
  #addresses: Everywhere = 'all';

  /** `healthy` tells whether the node's proxy works; `failed` is told once when a service's server cannot be had. */
  constructor(healthy: () => boolean, failed: (service: ObjectReference, reason: string) => void) {
    this.#healthy = healthy;
    this.#failed = failed;
  }

  /** Listens on these addresses from now on. */
  move(addresses: Everywhere): void {
    if (String(addresses) === String(this.#addresses)) return;
    this.#addresses = addresses;
    for (const entry of this.#entries.values()) this.#serve(entry);
  }

  /** Brings the servers to what the services say; `gone` are services, as `namespace/name`, that are no more. */
  follow(
    services: readonly { readonly about: ObjectReference; readonly healthCheck: HealthCheck | undefined }[],
    gone: readonly string[],
  ): void {
    for (const key of gone) this.#end(key);
    const moved = services.filter(({ about, healthCheck }) => {
      const entry = this.#entries.get(keyOf(about));
      if (entry && entry.check.port !== healthCheck?.port) this.#end(keyOf(about));
      return healthCheck !== undefined;
    });
    /* all ports that are given up are free before any is asked for: services may have exchanged theirs */
    for (const { about, healthCheck } of moved) if (healthCheck) this.#set(about, healthCheck);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const servers = [...this.#entries.values()].flatMap((entry) => [...entry.servers.values()]);
    this.#entries.clear();
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
  }

  #set(about: ObjectReference, check: HealthCheck): void {
    const entry = this.#entries.get(keyOf(about));
    if (entry) {
      Object.assign(entry, { about, check });
      return;
    }
    const made: Entry = { about, check, servers: new Map() };
    this.#entries.set(keyOf(about), made);
    this.#serve(made);
  }

  #serve(entry: Entry): void {
    const wanted: readonly string[] = this.#addresses === 'all' ? [''] : this.#addresses;
    for (const [address, server] of entry.servers) {
      if (wanted.includes(address)) continue;
      entry.servers.delete(address);
      void server[Symbol.asyncDispose]();
    }
    const { port } = entry.check;
    for (const address of wanted) {
      if (entry.servers.has(address)) continue;
      const place = { address: address === '' ? undefined : address, port };
      const failed = (reason: string): void => this.#failed(entry.about, reason);
      entry.servers.set(address, serveHttp(place, this.#answer(entry), failed));
    }
  }

  #answer(entry: Entry): RequestListener {
    return (_request, response) => {
      const { status, headers, body } = healthCheckAnswer(entry.about, entry.check.endpoints, this.#healthy());
      response.writeHead(status, headers).end(body);
    };
  }

  #end(key: string): void {
    const entry = this.#entries.get(key);
    this.#entries.delete(key);
    for (const server of entry?.servers.values() ?? []) void server[Symbol.asyncDispose]();
  }
}

function keyOf({ namespace, name }: ObjectReference): string {
  return `${namespace}/${name}`;
}
