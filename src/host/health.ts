/** /healthz, /livez and /readyz: JSON, 200 or 503, as probes and load balancers ask kube-proxy. */
import { ailments, HEALTH_PATHS, type HealthPath, healthBody, type Vitals } from '../core/health.js';
import { type Place, serveHttp } from './listen.js';

export interface HealthOptions {
  readonly vitals: () => Vitals;
  /** Told of every answer, to be counted. */
  readonly answered: (path: HealthPath, status: 200 | 503) => void;
  /** Told once when the port cannot be had. */
  readonly failed: (reason: string) => void;
}

/** Serves until disposed; a port that is taken is tried again and again. */
export function serveHealth(place: Place, { vitals, answered, failed }: HealthOptions): AsyncDisposable {
  return serveHttp(
    place,
    (request, response) => {
      const asked = (request.url ?? '').split('?')[0];
      const path = HEALTH_PATHS.find((known) => known === asked);
      if (!path) {
        response.writeHead(404).end();
        return;
      }
      const now = Date.now();
      const known = vitals();
      const status = ailments(path, known, now).length === 0 ? 200 : 503;
      answered(path, status);
      response.writeHead(status, { 'Content-Type': 'application/json', 'X-Content-Type-Options': 'nosniff' });
      response.end(JSON.stringify(healthBody(path, known, now)));
    },
    (reason) => failed(`serve health: ${reason}`),
  );
}
