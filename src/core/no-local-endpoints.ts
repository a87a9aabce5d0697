/** Where a traffic policy of Local leaves clients of this node alone although somebody elsewhere would serve them. */
import type { DesiredService } from './desired.js';

/** Numbers of service ports. */
export interface NoLocalEndpoints {
  readonly internal: number;
  readonly external: number;
}

/** An empty list while endpoints exist is what only the policy Local makes. */
export function noLocalEndpoints({ ports }: DesiredService): NoLocalEndpoints {
  let [internal, external] = [0, 0];
  for (const { frontends } of ports) {
    const lonely = frontends.filter(({ exists, outside }) => exists && outside.length === 0);
    if (lonely.some(({ kind }) => kind === 'ClusterIP')) internal++;
    if (lonely.some(({ kind }) => kind !== 'ClusterIP')) external++;
  }
  return { internal, external };
}
