/**
 * What becomes of a new connection to a service, by where it goes, where it comes from, the traffic policy and where endpoints
 * are: the rules of kube-proxy, with Weir's one difference (a local endpoint sees the client). The compiler, the programs and
 * the whole node are held against the same rows. A process of the node itself will be one more source.
 */
import type { FrontendKind } from '../../src/core/desired.js';
import type { TrafficPolicy } from '../../src/core/model.js';

/** A client out there, a pod of this node, and a pod that is the endpoint itself. */
export type Source = 'outside' | 'pod' | 'endpoint';
/** Where the only endpoint is. */
export type Whereabouts = 'here' | 'there' | 'nowhere';
/** refused: told so at once. dropped: nothing comes back. */
export type Verdict = 'served' | 'refused' | 'dropped';

export interface VerdictRow {
  readonly to: FrontendKind;
  readonly from: Source;
  readonly policy: TrafficPolicy;
  readonly endpoint: Whereabouts;
  readonly verdict: Verdict;
  /** The endpoint sees an address of the node: without --masquerade-all, and with it. */
  readonly masqueraded: boolean;
  readonly masqueradedByAll: boolean;
}

type Line = readonly [
  readonly FrontendKind[],
  readonly Source[],
  readonly TrafficPolicy[],
  Whereabouts,
  Verdict,
  boolean?,
];

const INSIDE = ['ClusterIP'] as const;
const OUTSIDE = ['NodePort', 'ExternalIP', 'LoadBalancer'] as const;
const ALL = [...INSIDE, ...OUTSIDE] as const;
const ANY = ['Cluster', 'Local'] as const;

/** Destinations, sources, policies, endpoint, verdict, masqueraded. */
const LINES: readonly Line[] = [
  [ALL, ['outside', 'pod'], ANY, 'here', 'served'],
  [ALL, ['outside', 'pod'], ANY, 'nowhere', 'refused'],
  [ALL, ['outside'], ['Cluster'], 'there', 'served', true],
  [ALL, ['pod'], ['Cluster'], 'there', 'served'],
  [ALL, ['outside'], ['Local'], 'there', 'dropped'],
  /* internal Local binds pods; external Local does not: what starts on this node may go anywhere (the short-circuit) */
  [INSIDE, ['pod'], ['Local'], 'there', 'dropped'],
  [OUTSIDE, ['pod'], ['Local'], 'there', 'served'],
  /* hairpin: an answer from itself to itself would never come back here */
  [ALL, ['endpoint'], ANY, 'here', 'served', true],
];

export const VERDICTS: readonly VerdictRow[] = LINES.flatMap(
  ([destinations, sources, policies, endpoint, verdict, masqueraded = false]) =>
    destinations.flatMap((to) =>
      sources.flatMap((from) =>
        policies.map((policy) => {
          const byAll = verdict === 'served';
          return { to, from, policy, endpoint, verdict, masqueraded, masqueradedByAll: byAll };
        }),
      ),
    ),
);

export function describeVerdict({ to, from, policy, endpoint }: VerdictRow): string {
  return `${to}, policy ${policy}, from ${from}, endpoint ${endpoint}`;
}
