/** HTTP servers whose port may be taken, for a while or for good: tried again until it can be had. */
import { createServer, type RequestListener } from 'node:http';

/** ms between attempts: kube-proxy may still hold a port while it is being replaced. */
const RETRY = 3000;

export interface Place {
  /** undefined: every address of both families. */
  readonly address: string | undefined;
  readonly port: number;
}

/** Serves until disposed. `failed` is told once each time that the place is lost or cannot be had. */
export function serveHttp(
  { address, port }: Place,
  answer: RequestListener,
  failed: (reason: string) => void,
): AsyncDisposable {
  const server = createServer(answer);
  const listen = (): void => void server.listen({ port, ...(address === undefined ? {} : { host: address }) });
  let retry: NodeJS.Timeout | undefined;
  let told = false;
  let stopped = false;
  server.on('listening', () => {
    told = false;
    if (stopped) server.close(); // the address was still being looked up when it was to end
  });
  server.on('error', (error) => {
    if (stopped) return;
    if (!told) failed(`${error.message}; tried again every ${RETRY / 1000} s`);
    told = true;
    clearTimeout(retry);
    retry = setTimeout(listen, RETRY);
  });
  listen();
  return {
    [Symbol.asyncDispose]: async () => {
      stopped = true;
      clearTimeout(retry);
      const ended = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await ended;
    },
  };
}
