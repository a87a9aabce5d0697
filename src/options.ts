/** The agent's settings, as the command line gives them. */
import type { DenyAction, Forwarding, Scheduler } from './core/model.js';
import type { Prefix } from './core/net.js';
import type { NodePortRule } from './core/network.js';
import type { XdpRequest } from './loader/xdp.js';

export const DATAPLANES = ['bpf', 'ipvs'] as const;

export interface AgentOptions {
  readonly dataplane: (typeof DATAPLANES)[number];
  readonly bpfRoot: string;
  readonly nodeName: string;
  /** A folder of manifests; otherwise the API server. */
  readonly manifests: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly apiservers: readonly string[];
  readonly devices: readonly string[];
  readonly podDevices: readonly string[];
  readonly xdp: XdpRequest;
  readonly forwarding: Forwarding;
  readonly scheduler: Scheduler;
  readonly nodePortAddresses: NodePortRule;
  readonly dsrSources: readonly Prefix[];
  /** Ranges whose sources count as the cluster's own; empty: the nodes' pod ranges. */
  readonly clusterCidr: readonly Prefix[];
  /** At most one of each family. */
  readonly serviceCidr: readonly Prefix[];
  /** Replace the source of every translated flow. */
  readonly masqueradeAll: boolean;
  /** '' where this proxy has no name of its own. */
  readonly serviceProxyName: string;
  readonly snatPorts: { readonly first: number; readonly last: number };
  /** Redirect flows past the node's stack where both directions allow it. */
  readonly fastPath: boolean;
  /** Directory of the cgroup whose processes, in the agent's network namespace, reach services; undefined: none. */
  readonly cgroup: string | undefined;
  readonly runServiceProxy: boolean;
  /** ms for which a removed backend keeps its TCP flows. */
  readonly drainTimeout: number;
  /** Whether network policies are enforced. */
  readonly runFirewall: boolean;
  /** What becomes of denied packets where neither policy nor namespace says. */
  readonly denyAction: DenyAction;
  readonly defaultDenyUnknown: boolean;
  readonly keepEstablished: boolean;
  /**
   * ms after the first start during which UDP that is under way is let through if either end may open it; and for which at least
   * a dataplane that takes over lets connections pass that only the one before can know.
   */
  readonly takeoverGrace: number;
  readonly health: Listen | undefined;
  readonly metrics: Listen | undefined;
  readonly flowEntries: { readonly v4: number; readonly v6: number } | undefined;
}

export interface Listen {
  readonly address: string;
  readonly port: number;
}
