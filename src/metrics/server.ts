/** The port of kube-proxy's metrics: /metrics in the Prometheus text format and /proxyMode, where scripts look for both. */
import type { ServerResponse } from 'node:http';
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { type Place, serveHttp } from '../host/listen.js';

/**
 * Metrics as text, in pieces of whole lines. Each piece is made when the one before has been written and the loop has turned,
 * so that a collector with a hundred thousand lines holds nothing up: some hundred lines a piece.
 */
export type Exposition = () => AsyncIterable<string> | Iterable<string>;

export interface MetricsOptions {
  /** The answer of /proxyMode. */
  readonly proxyMode: string;
  readonly expositions: readonly Exposition[];
  /** Told once when the port cannot be had, and of every scrape that breaks off. */
  readonly failed: (reason: string) => void;
}

const TEXT_FORMAT = 'text/plain; version=0.0.4; charset=utf-8';

/** Serves until disposed; a port that is taken is tried again and again. */
export function serveMetrics(place: Place, { proxyMode, expositions, failed }: MetricsOptions): AsyncDisposable {
  return serveHttp(
    place,
    (request, response) => {
      const path = (request.url ?? '').split('?')[0];
      if (path === '/proxyMode') response.writeHead(200, { 'Content-Type': 'text/plain' }).end(proxyMode);
      else if (path !== '/metrics') response.writeHead(404).end();
      else {
        response.writeHead(200, { 'Content-Type': TEXT_FORMAT });
        write(response, expositions).catch((error: unknown) => {
          response.destroy(); // a scrape that ends in the middle must not pass for a whole one
          failed(`read metrics: ${error instanceof Error ? error.message : String(error)}`);
        });
      }
    },
    (reason) => failed(`serve metrics: ${reason}`),
  );
}

async function write(response: ServerResponse, expositions: readonly Exposition[]): Promise<void> {
  const closed = new AbortController();
  response.on('close', () => closed.abort());
  for (const exposition of expositions) {
    for await (const piece of exposition()) {
      if (closed.signal.aborted) return;
      if (!response.write(piece)) await once(response, 'drain', { signal: closed.signal }).catch(() => undefined);
      await turn();
    }
  }
  response.end();
}
