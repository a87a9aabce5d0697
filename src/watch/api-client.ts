/** HTTP with the API server: requests with deadlines, bodies, lines; several addresses tried in turn. */
import { formatSocket } from '../core/net.js';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { WeirError } from '../errors.js';
import type { ApiServer } from './kube-config.js';

export interface ApiDeadlines {
  /** To be connected. */
  readonly connectMs: number;
  /** From the start of a request to the head of its answer, and between two pieces of a list. */
  readonly responseMs: number;
  /** Between two pieces of a watch, in which bookmarks arrive every minute or so. */
  readonly silenceMs: number;
}

export type Query = Readonly<Record<string, string>>;

/** Something written to the API: its body is JSON. */
export interface Message {
  readonly method: 'POST' | 'PATCH';
  /** Of the body; a PATCH says by it how it is meant. */
  readonly type: 'application/json' | 'application/merge-patch+json';
  readonly body: unknown;
}

/** An answer that is not a success, or none: `status` tells which. */
export class ApiError extends WeirError {
  readonly status: number | undefined;
  readonly retryAfterMs: number;

  constructor(message: string, status?: number, options: { retryAfterMs?: number; cause?: unknown } = {}) {
    super('WEIR_API', message, options.cause === undefined ? {} : { cause: options.cause });
    this.status = status;
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }
}

/** An answer that began well and then broke off or fell silent: the next request will tell how the server is. */
export class StreamError extends Error {}

/** Probes tell a dead peer after KEEPALIVE_MS + 10 s, where the deadlines alone would take minutes. */
const KEEPALIVE_MS = 15_000;
const ERROR_BODY_CHARACTERS = 16 * 1024;

export class ApiClient {
  readonly #servers: readonly ApiServer[];
  readonly #deadlines: ApiDeadlines;
  readonly #reached: (address: string) => void;
  #current = 0;

  /** `reached` is told the address and port behind every answer. */
  constructor(
    servers: readonly ApiServer[],
    deadlines: ApiDeadlines,
    reached: (address: string) => void = () => undefined,
  ) {
    this.#servers = servers;
    this.#deadlines = deadlines;
    this.#reached = reached;
  }

  /** The JSON body of a GET. */
  async get(path: string, query: Query, signal: AbortSignal): Promise<unknown> {
    const text = await this.#body(await this.#open(withQuery(path, query), signal));
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new ApiError(`the answer is not JSON: ${JSON.stringify(text.slice(0, 80))}`, 200, { cause: error });
    }
  }

  /** Writes an object. Throws ApiError where the server refuses it or does not answer. */
  async send(path: string, message: Message, signal: AbortSignal): Promise<void> {
    await this.#body(await this.#open(path, signal, message));
  }

  /** The lines of a streaming GET, as they arrive. Resolves once the server has begun to answer. */
  async stream(path: string, query: Query, signal: AbortSignal): Promise<AsyncGenerator<string>> {
    const response = await this.#open(withQuery(path, query), signal);
    return linesOf(this.#pieces(response, this.#deadlines.silenceMs));
  }

  async #body(response: IncomingMessage): Promise<string> {
    const pieces: Buffer[] = [];
    for await (const piece of this.#pieces(response, this.#deadlines.responseMs)) pieces.push(piece);
    return Buffer.concat(pieces).toString('utf8');
  }

  async #open(target: string, signal: AbortSignal, message?: Message): Promise<IncomingMessage> {
    const index = this.#current;
    const server = this.#servers[index];
    if (!server) throw new ApiError('no API server is configured');
    try {
      const response = await open(server, target, this.#deadlines, signal, message);
      const { remoteAddress, remotePort } = response.socket;
      if (remoteAddress !== undefined && remotePort !== undefined)
        this.#reached(formatSocket(remoteAddress, remotePort));
      if (response.statusCode === 200 || response.statusCode === 201) return response;
      throw await this.#refusal(response);
    } catch (error) {
      const failure = error instanceof ApiError ? error : unreachable(server, error);
      // Several reflectors share the addresses: only the first of them to fail moves on.
      if ((failure.status ?? 500) >= 500 && this.#current === index) this.#current = (index + 1) % this.#servers.length;
      throw failure;
    }
  }

  async #refusal(response: IncomingMessage): Promise<ApiError> {
    const status = response.statusCode ?? 0;
    let text = '';
    for await (const piece of this.#pieces(response, this.#deadlines.responseMs)) {
      text += piece.toString('utf8');
      if (text.length > ERROR_BODY_CHARACTERS) break;
    }
    const seconds = Number(response.headers['retry-after'] ?? 0);
    const retryAfterMs = Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 60) * 1000 : 0;
    return new ApiError(`${status} ${response.statusMessage ?? ''}: ${statusMessage(text)}`.trim(), status, {
      retryAfterMs,
    });
  }

  /** The body, piece by piece; throws StreamError where it breaks off or falls silent. */
  async *#pieces(response: IncomingMessage, silenceMs: number): AsyncGenerator<Buffer> {
    const silence = `nothing arrived for ${silenceMs / 1000} s`;
    const timer = setTimeout(() => response.destroy(new Error(silence)), silenceMs);
    const pieces: AsyncIterable<Buffer> = response;
    try {
      for await (const piece of pieces) {
        timer.refresh();
        yield piece;
      }
    } catch (error) {
      throw new StreamError(error instanceof Error ? error.message : String(error), { cause: error });
    } finally {
      clearTimeout(timer);
      response.destroy();
    }
  }
}

function withQuery(path: string, query: Query): string {
  return `${path}?${new URLSearchParams(query).toString()}`;
}

async function open(
  server: ApiServer,
  target: string,
  deadlines: ApiDeadlines,
  signal: AbortSignal,
  message?: Message,
): Promise<IncomingMessage> {
  const options = await server.options();
  const start = server.url.startsWith('http:') ? httpRequest : httpsRequest;
  return new Promise((resolve, reject) => {
    const request = start(`${server.url}${target}`, { ...options, method: message?.method ?? 'GET', signal });
    if (message) request.setHeader('Content-Type', message.type);
    const giveUp = (what: string, ms: number): NodeJS.Timeout =>
      setTimeout(() => request.destroy(new Error(`${what} within ${ms / 1000} s`)), ms);
    const timers = [giveUp('no answer', deadlines.responseMs)];
    const clear = (): void => timers.forEach(clearTimeout);
    request.on('socket', (socket) => {
      socket.setKeepAlive(true, KEEPALIVE_MS);
      if (!socket.connecting) return;
      const connecting = giveUp('not connected', deadlines.connectMs);
      timers.push(connecting);
      socket.once('connect', () => clearTimeout(connecting));
    });
    request.on('response', (response) => {
      clear();
      resolve(response);
    });
    request.on('error', (error) => {
      clear();
      reject(error);
    });
    request.end(message && JSON.stringify(message.body));
  });
}

/** Whole lines. What is left at the end is half a line: the watch is resumed from before it. */
async function* linesOf(pieces: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let begun: Buffer[] = [];
  for await (const piece of pieces) {
    let start = 0;
    for (let end = piece.indexOf(10); end >= 0; end = piece.indexOf(10, start)) {
      const line = Buffer.concat([...begun, piece.subarray(start, end)]).toString('utf8');
      begun = [];
      start = end + 1;
      if (line.trim() !== '') yield line;
    }
    if (start < piece.length) begun.push(piece.subarray(start));
  }
}

function unreachable(server: ApiServer, error: unknown): ApiError {
  const reason = error instanceof Error ? error.message || error.name : String(error);
  return new ApiError(`${server.url}: ${reason}`, undefined, { cause: error });
}

/** The message of a Kubernetes Status, or the beginning of whatever came instead. */
function statusMessage(text: string): string {
  try {
    const status: unknown = JSON.parse(text);
    if (typeof status === 'object' && status !== null && 'message' in status && typeof status.message === 'string')
      return status.message;
  } catch {
    // Proxies in between answer in HTML or plain text.
  }
  return text.slice(0, 200).trim();
}
