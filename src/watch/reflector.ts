/**
 * Keeps the objects of one kind in step with the API server: list, watch from there, and again after whatever happens. It ends
 * only when it is stopped. (The client library's informer ends at the first ordinary error.)
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Change, Kind, Problem } from '../core/model.js';
import { identify, parseAs, resourceKey, type Parsed } from '../core/objects.js';
import { ApiError, StreamError, type ApiClient, type Query } from './api-client.js';
import { Backoff } from './backoff.js';
import { ResourceStore } from './store.js';
import { parseListPage, parseWatchLine, type WatchEvent } from './watch-event.js';

/** A collection of the API. `resource` is its name in messages and in RBAC rules. */
export interface ApiResource {
  readonly kind: Kind;
  readonly resource: string;
  readonly path: string;
  readonly labelSelector?: string;
}

/** What the reflector reports to, shared by the reflectors of one source. */
export interface ReflectorSink {
  changes(changes: readonly Change[]): void;
  /** After the last change of each complete list. */
  listed(): void;
  /** All problems of one object; none where it is good (again). */
  judged(key: string, problems: readonly Problem[]): void;
  failed(verb: 'list' | 'watch', resource: string, error: ApiError): void;
  answered(resource: string): void;
}

export interface ReflectorTiming {
  /** First and longest wait after failures. */
  readonly backoffMs: readonly [number, number];
  /** Each watch ends after a random time between these, so that the server can balance its connections. */
  readonly watchSeconds: readonly [number, number];
  readonly pageSize: number;
}

/** A watch that ends sooner than this is not renewed at once, lest a server that closes each one be called without pause. */
const SHORT_WATCH_MS = 1000;

class Expired extends Error {}

export class Reflector {
  readonly #api: ApiClient;
  readonly #resource: ApiResource;
  readonly #sink: ReflectorSink;
  readonly #timing: ReflectorTiming;
  readonly #random: () => number;
  readonly #store = new ResourceStore();
  /** Objects whose last version had problems; they may never have had a good one. */
  readonly #broken = new Set<string>();
  /** For requests that fail, and for versions that expire although the server answers. */
  readonly #trouble: Backoff;
  readonly #expiry: Backoff;
  /** Where to resume watching; undefined where only a new list helps. */
  #version: string | undefined;

  constructor(
    api: ApiClient,
    resource: ApiResource,
    sink: ReflectorSink,
    timing: ReflectorTiming,
    random: () => number,
  ) {
    this.#api = api;
    this.#resource = resource;
    this.#sink = sink;
    this.#timing = timing;
    this.#random = random;
    this.#trouble = new Backoff(...timing.backoffMs, random);
    this.#expiry = new Backoff(...timing.backoffMs, random);
  }

  /** Runs until the signal is aborted; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const verb = this.#version === undefined ? 'list' : 'watch';
      try {
        if (this.#version === undefined) await this.#list(signal);
        else await this.#watch(this.#version, signal);
      } catch (error) {
        if (signal.aborted) return;
        await sleep(this.#waitAfter(verb, error), undefined, { signal }).catch(() => undefined);
      }
    }
  }

  #waitAfter(verb: 'list' | 'watch', error: unknown): number {
    if (error instanceof Expired || (error instanceof ApiError && error.status === 410)) {
      this.#version = undefined;
      return this.#expiry.next();
    }
    if (error instanceof StreamError) return this.#trouble.next();
    const failure = error instanceof ApiError ? error : new ApiError(String(error), undefined, { cause: error });
    this.#sink.failed(verb, this.#resource.resource, failure);
    // An answer that cannot be understood says nothing about what was missed.
    if (failure.status === 200) this.#version = undefined;
    return Math.max(this.#trouble.next(), failure.retryAfterMs);
  }

  /**
   * Reads everything, page by page, at the server's newest state (no resourceVersion: an older one could take the dataplane
   * back in time). Nothing is told before the last page, so that a list which breaks off changes nothing.
   */
  async #list(signal: AbortSignal): Promise<void> {
    const objects: Parsed[] = [];
    let version = '';
    let next = '';
    do {
      const page = await this.#page(next, signal);
      // Only the model is kept while the other pages arrive: raw objects are several times larger.
      for (const item of page.items) objects.push(parseAs(this.#resource.kind, item));
      ({ version, next } = page);
    } while (next !== '');
    this.#version = version;
    this.#sink.answered(this.#resource.resource);
    this.#replace(objects);
    this.#sink.listed();
  }

  #replace(objects: readonly Parsed[]): void {
    const present = new Set(objects.flatMap((parsed) => (parsed.id ? resourceKey(parsed.id) : [])));
    const gone = this.#store.retain(present);
    for (const key of this.#broken) if (!present.has(key)) this.#judge(key, []);
    this.#sink.changes([...gone, ...objects.flatMap((parsed) => this.#accept(parsed))]);
    this.#sink.judged(this.#nameless, objects.flatMap(namelessProblems));
  }

  async #page(
    next: string,
    signal: AbortSignal,
  ): Promise<{ items: readonly unknown[]; version: string; next: string }> {
    const query: Query = {
      ...this.#selector(),
      limit: `${this.#timing.pageSize}`,
      ...(next === '' ? {} : { continue: next }),
    };
    const page = parseListPage(await this.#api.get(this.#resource.path, query, signal));
    if (!page) throw new ApiError('the answer is no Kubernetes list', 200);
    return page;
  }

  async #watch(version: string, signal: AbortSignal): Promise<void> {
    const [least, most] = this.#timing.watchSeconds;
    const timeoutSeconds = `${Math.round(least + this.#random() * (most - least))}`;
    const query = {
      ...this.#selector(),
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: version,
      timeoutSeconds,
    };
    const lines = await this.#api.stream(this.#resource.path, query, signal);
    this.#sink.answered(this.#resource.resource);
    const began = performance.now();
    let events = 0;
    try {
      for await (const line of lines) {
        this.#apply(parseWatchLine(line));
        this.#expiry.reset();
        events++;
      }
      if (performance.now() - began < SHORT_WATCH_MS) throw new StreamError('the watch ended at once');
    } finally {
      // A server that accepts a watch and drops it at once is still in trouble; one that served it for a while is not.
      if (events > 0 || performance.now() - began >= SHORT_WATCH_MS) this.#trouble.reset();
    }
  }

  #apply(event: WatchEvent): void {
    switch (event.kind) {
      case 'malformed':
        throw new ApiError(event.message, 200);
      case 'error':
        if (event.status === 410) throw new Expired(event.message);
        throw new ApiError(`${event.status}: ${event.message}`, 200);
      case 'deleted':
        this.#sink.changes(this.#remove(event.object));
        break;
      case 'changed':
        this.#change(parseAs(this.#resource.kind, event.object));
        break;
      case 'bookmark':
        break;
      default:
        event satisfies never;
    }
    if ('version' in event && event.version !== undefined) this.#version = event.version;
  }

  #change(parsed: Parsed): void {
    const nameless = namelessProblems(parsed);
    if (nameless.length > 0) this.#sink.judged(this.#nameless, nameless);
    this.#sink.changes(this.#accept(parsed));
  }

  /** Objects that cannot even be named are judged together. */
  get #nameless(): string {
    return `${this.#resource.kind}/?`;
  }

  /** Takes one version of an object; a broken one leaves the last good version in force. */
  #accept(parsed: Parsed): Change[] {
    if (parsed.id) this.#judge(resourceKey(parsed.id), parsed.kind === 'ignored' ? [] : parsed.problems);
    if (parsed.kind === 'resource') return this.#store.put(parsed.resource);
    return parsed.kind === 'ignored' && parsed.id ? this.#store.remove(parsed.id) : [];
  }

  #remove(raw: unknown): Change[] {
    const id = identify(this.#resource.kind, raw);
    if (!id) return [];
    this.#judge(resourceKey(id), []);
    return this.#store.remove(id);
  }

  #judge(key: string, problems: readonly Problem[]): void {
    if (problems.length > 0) this.#broken.add(key);
    else this.#broken.delete(key);
    this.#sink.judged(key, problems);
  }

  #selector(): Query {
    return this.#resource.labelSelector === undefined ? {} : { labelSelector: this.#resource.labelSelector };
  }
}

function namelessProblems(parsed: Parsed): readonly Problem[] {
  return parsed.id || parsed.kind === 'ignored' ? [] : parsed.problems;
}
