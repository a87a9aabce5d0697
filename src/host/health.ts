/** /healthz, /livez and /readyz: JSON, 200 or 503, as probes and load balancers ask kube-proxy. */
import { createServer } from 'node:http';

export interface Health {
  /** All that was read at the start is in the kernel. */
  readonly synced: boolean;
  /** ms since 1970 of the last change that reached the kernel. */
  readonly lastSync: number;
  /** The last attempt to bring the kernel in step failed, and none has succeeded since. */
  readonly failing: boolean;
}

/** ms between attempts to get the port: kube-proxy may still hold it while it is being replaced. */
const RETRY = 3000;

/** Serves until disposed. While the port cannot be had, it is tried again and again; `waiting` is told once. */
export function serveHealth(
  address: string,
  port: number,
  health: () => Health,
  waiting: (reason: string) => void,
): AsyncDisposable {
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
  let retry: NodeJS.Timeout | undefined;
  let told = false;
  server.on('error', (error) => {
    if (!told) waiting(`serve health on ${address}:${port}: ${error.message}; tried again every ${RETRY / 1000} s`);
    told = true;
    retry = setTimeout(() => server.listen(port, address), RETRY);
  });
  server.listen(port, address);
  return {
    [Symbol.asyncDispose]: async () => {
      clearTimeout(retry);
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}
