/** Whether this node's proxy is healthy: what /healthz, /livez and /readyz answer. Pure. */

/** ms for which a change may wait for the kernel: twice kube-proxy's sync period. */
export const PATIENCE = 60_000;

/** What the agent knows of itself. Times in ms since 1970. */
export interface Vitals {
  /** All that was read at the start is in the kernel. */
  readonly synced: boolean;
  /** The last change that reached the kernel; 0: none has. */
  readonly lastSync: number;
  /** Why the last attempt to bring the kernel in step failed, if none has succeeded since. */
  readonly failure: string | undefined;
  /** Since when the oldest change that is not in the kernel waits; 0: none does. */
  readonly waitingSince: number;
  /** What is wrong with the dataplane as it stands in the kernel: programs that are gone, tables that cannot be read. */
  readonly faults: readonly string[];
  /** False where the node is being deleted or marked by the cluster autoscaler. */
  readonly eligible: boolean;
}

export const HEALTH_PATHS = ['/healthz', '/livez', '/readyz'] as const;
export type HealthPath = (typeof HEALTH_PATHS)[number];

/** Why the answer is 503; empty: it is 200. */
export function ailments(path: HealthPath, vitals: Vitals, now: number): string[] {
  const { synced, failure, waitingSince, faults, eligible } = vitals;
  const unsynced = synced ? [] : ['not everything was read yet'];
  const waited = waitingSince > 0 ? now - waitingSince : 0;
  const sick = [
    ...(failure === undefined ? [] : [`the last sync failed: ${failure}`]),
    ...(waited > PATIENCE ? [`a change has waited for ${Math.floor(waited / 1000)} s`] : []),
    ...faults,
  ];
  if (path === '/readyz') return [...unsynced, ...sick];
  if (path === '/livez') return sick;
  return [...unsynced, ...sick, ...(eligible ? [] : ['the node is about to leave'])];
}

/** The body, with the names that kube-proxy gives it. */
export function healthBody(path: HealthPath, vitals: Vitals, now: number): Readonly<Record<string, unknown>> {
  const { lastSync, synced, eligible } = vitals;
  return {
    lastUpdated: lastSync > 0 ? new Date(lastSync).toISOString() : null,
    currentTime: new Date(now).toISOString(),
    ...(path === '/healthz' ? { nodeEligible: eligible } : {}),
    synced,
    problems: ailments(path, vitals, now),
  };
}
