/** /healthz, /livez and /readyz: JSON, 200 or 503, as probes and load balancers ask kube-proxy. */
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { WeirError } from '../errors.js';

export interface Health {
  /** All that was read at the start is in the kernel. */
  readonly synced: boolean;
  /** ms since 1970 of the last change that reached the kernel. */
  readonly lastSync: number;
  /** The last attempt to bring the kernel in step failed, and none has succeeded since. */
  readonly failing: boolean;
}

/** Serves until disposed. Throws WEIR_USAGE where the address cannot be had. */
export async function serveHealth(address: string, port: number, health: () => Health): Promise<AsyncDisposable> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0] ?? '';
    if (!['/healthz', '/livez', '/readyz'].includes(path)) {
      response.writeHead(404).end();
      return;
    }
    const { synced, lastSync, failing } = health();
    /* alive means that the loop turns; ready and healthy mean that it has done its work */
    const good = path === '/livez' || (synced && !failing);
    const lastUpdated = lastSync ? new Date(lastSync).toISOString() : null;
    const body = { lastUpdated, currentTime: new Date().toISOString(), synced };
    response.writeHead(good ? 200 : 503, { 'Content-Type': 'application/json', 'X-Content-Type-Options': 'nosniff' });
    response.end(JSON.stringify(body));
  });
  await listen(server, address, port);
  return { [Symbol.asyncDispose]: () => close(server) };
}

async function listen(server: Server, address: string, port: number): Promise<void> {
  try {
    server.listen(port, address);
    await once(server, 'listening');
  } catch (error) {
    const message = `serve health on ${address}:${port}: ${error instanceof Error ? error.message : String(error)}`;
    throw new WeirError('WEIR_USAGE', message, { cause: error });
  }
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
