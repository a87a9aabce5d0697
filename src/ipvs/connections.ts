/** Connections as IPVS tells them in ipvsadm -Lcn. */
import { runTool } from './tools.js';

export interface Connection {
  readonly protocol: string;
  readonly client: string;
  readonly frontend: string;
  readonly backend: string;
  readonly state: string;
  /** s until it is forgotten, unless another packet comes. */
  readonly expires: number;
}

/** Those that are closing hold nothing up. */
const ENDING = /^(TIME_WAIT|CLOSE|FIN_WAIT|LAST_ACK|CLOSE_WAIT)$/;

/** Templates of persistence are left out: no connection has client port 0. */
export function parseConnections(text: string): Connection[] {
  return text.split('\n').flatMap((line) => {
    const [protocol = '', expires = '', state = '', client = '', frontend = '', backend] = line.trim().split(/\s+/);
    if (backend === undefined || !/^\d+:\d\d$/.test(expires) || client.endsWith(':0')) return [];
    const [minutes = 0, seconds = 0] = expires.split(':').map(Number);
    return [{ protocol, client, frontend, backend, state, expires: minutes * 60 + seconds }];
  });
}

/** Number of connections by `PROTOCOL frontend backend`. */
export function countConnections(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { protocol, frontend, backend, state } of parseConnections(runTool('ipvsadm', ['-Lcn']))) {
    if (ENDING.test(state)) continue;
    const key = `${protocol} ${frontend} ${backend}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}
