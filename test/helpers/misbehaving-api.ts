/** An API server over plain HTTP that lists and watches like the real one, and fails in every way a test asks for. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

type Raw = Readonly<Record<string, unknown>>;
interface Logged {
  readonly version: number;
  readonly line: string;
}
interface Watcher {
  readonly path: string;
  readonly response: ServerResponse;
}
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly authorization: string | undefined;
}
interface Refusal {
  readonly status: number;
  readonly body: string;
  readonly headers?: Record<string, string>;
}

/** Something that was written, whether or not it was accepted. */
export interface Written {
  readonly method: string;
  readonly path: string;
  readonly type: string | undefined;
  readonly body: Raw;
}

export const SERVICES = '/api/v1/services';
export const SLICES = '/apis/discovery.k8s.io/v1/endpointslices';
export const NODES = '/api/v1/nodes';
export const PODS = '/api/v1/pods';
export const NAMESPACES = '/api/v1/namespaces';
export const POLICIES = '/apis/networking.k8s.io/v1/networkpolicies';
export const COLLECTIONS = [SERVICES, SLICES, NODES, PODS, NAMESPACES, POLICIES];

export class MisbehavingApi {
  readonly requests: SeenRequest[] = [];
  readonly written: Written[] = [];
  readonly #server: Server;
  readonly #objects = new Map<string, Map<string, Raw>>();
  readonly #log = new Map<string, Logged[]>();
  readonly #watchers = new Set<Watcher>();
  #version = 100;
  #oldest = 0;
  #refuse: (request: SeenRequest) => Refusal | undefined = () => undefined;
  #mute = false;
  /** Whether an expired version is told as an HTTP status or as an event of a watch that begins well. */
  goneAs: 'status' | 'event' = 'status';

  private constructor() {
    this.#server = createServer((request, response) => this.#serve(request, response));
  }

  static async start(port = 0): Promise<MisbehavingApi> {
    const api = new MisbehavingApi();
    await new Promise<void>((resolve, reject) => {
      api.#server.once('error', reject);
      api.#server.listen(port, '127.0.0.1', resolve);
    });
    return api;
  }

  get port(): number {
    const address: AddressInfo | string | null = this.#server.address();
    return typeof address === 'object' && address ? address.port : 0;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Creates or replaces an object and tells the watches. */
  set(path: string, object: Raw): void {
    const stored = this.#stamp(object);
    const objects = this.#collection(path);
    const name = nameOf(object);
    this.#tell(path, objects.has(name) ? 'MODIFIED' : 'ADDED', stored);
    objects.set(name, stored);
  }

  delete(path: string, object: Raw): void {
    const stored = this.#stamp(object);
    this.#collection(path).delete(nameOf(object));
    this.#tell(path, 'DELETED', stored);
  }

  /** Forgets all events so far: whoever resumes from an older version gets 410. */
  compact(): void {
    this.#oldest = ++this.#version;
  }

  /** Raw bytes into every watch of a collection. */
  send(path: string, text: string | Uint8Array): void {
    for (const watcher of this.#watchers) if (watcher.path === path) watcher.response.write(text);
  }

  bookmark(path: string): void {
    this.send(
      path,
      `${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: `${++this.#version}` } } })}\n`,
    );
  }

  /** The last event of a collection once more. */
  repeatLast(path: string): void {
    this.send(path, this.#log.get(path)?.at(-1)?.line ?? '');
  }

  /** Ends all watches: politely as at their timeout, or by cutting the connection. */
  async dropWatches(how: 'end' | 'cut'): Promise<void> {
    // Let what was written before reach the client first.
    await sleep(20);
    for (const { response } of this.#watchers) {
      if (how === 'end') response.end();
      else response.socket?.destroy();
    }
    this.#watchers.clear();
  }

  /** From now on events are kept from the watches that are open, which stay open: a peer that is gone without a word. */
  goSilent(): void {
    this.#mute = true;
  }

  /** Refuses requests for as long as the function returns a status. */
  refuse(decide: (request: SeenRequest) => Refusal | undefined): void {
    this.#refuse = decide;
  }

  watching(path: string): number {
    return [...this.#watchers].filter((watcher) => watcher.path === path).length;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', this.url);
    const seen: SeenRequest = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      authorization: request.headers.authorization,
    };
    this.requests.push(seen);
    const refusal = this.#refuse(seen);
    if (refusal) response.writeHead(refusal.status, refusal.headers ?? {}).end(refusal.body);
    else if (seen.method !== 'GET') void this.#write(seen, request, response);
    else if (seen.query.get('watch') === '1') this.#watch(seen, response);
    else this.#list(seen, response);
  }

  /** What is there already is refused, as the real one does. */
  async #write({ method, path }: SeenRequest, request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const piece of request) text += String(piece);
    const body = JSON.parse(text) as Raw;
    this.written.push({ method, path, type: request.headers['content-type'], body });
    const objects = this.#collection(path);
    const taken = method === 'POST' && objects.has(nameOf(body));
    if (method === 'POST') objects.set(nameOf(body), body);
    const status = taken ? 409 : method === 'POST' ? 201 : 200;
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(taken ? { kind: 'Status', reason: 'AlreadyExists', message: 'already exists' } : body));
  }

  #list({ path, query }: SeenRequest, response: ServerResponse): void {
    const all = [...this.#collection(path).values()];
    const from = Number(query.get('continue') ?? 0);
    const limit = Number(query.get('limit') ?? all.length);
    const metadata: Record<string, string> = { resourceVersion: `${this.#version}` };
    if (from + limit < all.length) metadata['continue'] = `${from + limit}`;
    response.setHeader('Content-Type', 'application/json');
    // Items of a real list carry neither kind nor apiVersion.
    const items = all.slice(from, from + limit).map(({ kind: _kind, apiVersion: _version, ...item }) => item);
    response.end(JSON.stringify({ kind: 'SomeList', metadata, items }));
  }

  #watch({ path, query }: SeenRequest, response: ServerResponse): void {
    const since = Number(query.get('resourceVersion'));
    const gone = {
      kind: 'Status',
      status: 'Failure',
      reason: 'Expired',
      code: 410,
      message: 'too old resource version',
    };
    if (since < this.#oldest && this.goneAs === 'status') {
      response.writeHead(410).end(JSON.stringify(gone));
      return;
    }
    response.writeHead(200, { 'Content-Type': 'application/json' }).flushHeaders();
    if (since < this.#oldest) {
      response.end(`${JSON.stringify({ type: 'ERROR', object: gone })}\n`);
      return;
    }
    const watcher = { path, response };
    this.#mute = false;
    this.#watchers.add(watcher);
    response.on('close', () => this.#watchers.delete(watcher));
    for (const event of this.#log.get(path) ?? []) if (event.version > since) response.write(event.line);
  }

  #tell(path: string, type: string, object: Raw): void {
    const line = `${JSON.stringify({ type, object })}\n`;
    const log = this.#log.get(path) ?? [];
    log.push({ version: this.#version, line });
    this.#log.set(path, log);
    if (!this.#mute) this.send(path, line);
  }

  #stamp(object: Raw): Raw {
    const metadata = typeof object['metadata'] === 'object' ? object['metadata'] : {};
    return { ...object, metadata: { ...metadata, resourceVersion: `${++this.#version}` } };
  }

  #collection(path: string): Map<string, Raw> {
    const found = this.#objects.get(path) ?? new Map<string, Raw>();
    this.#objects.set(path, found);
    return found;
  }
}

function nameOf(object: Raw): string {
  const metadata = object['metadata'];
  return typeof metadata === 'object' && metadata !== null && 'name' in metadata ? String(metadata.name) : '';
}
