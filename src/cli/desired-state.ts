/** What should be in the kernel, told from the objects and this node's network, as the agent tells it. */
import type { DesiredService } from '../core/desired.js';
import type { Problem, Source } from '../core/model.js';
import type { Ip } from '../core/net.js';
import { bindings, type Network, ownAddresses } from '../core/network.js';
import { compilePolicy } from '../core/policy/compiler.js';
import type { Target as PolicyTarget } from '../core/policy/transition.js';
import { chooseDevices, clusterRanges, settingsOf, tunnelSources } from '../core/settings.js';
import { Store } from '../core/store.js';
import { WeirError } from '../errors.js';
import type { NodeState } from '../maps/node.js';
import type { StateOptions } from './agent-flags.js';

export interface DesiredState {
  readonly services: readonly DesiredService[];
  readonly problems: readonly Problem[];
  readonly policy: PolicyTarget;
  /** This node's addresses, exempt from policy. */
  readonly own: readonly Ip[];
  /** The tables about this node, given the endpoints on it (those that end included). */
  node(endpoints: NodeState['endpoints']): NodeState;
}

const NO_POLICY: PolicyTarget = { classes: new Map(), sets: new Map(), subjects: new Map() };

/** ms for an API server to hand out everything. */
const PATIENCE = 60_000;

/** Everything that the source has at the start. Throws WEIR_API where it does not come to that. */
export async function readObjects(
  source: Source,
  problem: (problem: Problem) => void,
  signal: AbortSignal,
): Promise<Store> {
  const store = new Store();
  const over = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
  const ended = new Promise<never>((_, reject) => {
    const end = (): void => {
      const why = signal.aborted ? 'interrupted' : `not complete after ${PATIENCE / 1000} s`;
      reject(new WeirError('WEIR_API', `read the objects: ${why}`));
    };
    if (over.aborted) end();
    else over.addEventListener('abort', end, { once: true });
  });
  try {
    const synced = new Promise<void>((resolve, reject) => {
      const events = {
        changes: (changes: Parameters<Store['apply']>[0]) => store.apply(changes),
        problem,
        synced: resolve,
      };
      source.start(events).catch(reject);
    });
    await Promise.race([synced, ended]);
  } finally {
    await source.stop();
  }
  return store;
}

/** Compiles what the store has. `xdp`: devices that take frames which XDP redirects to them. */
export function desiredState(
  store: Store,
  options: StateOptions,
  network: Network,
  xdp: ReadonlySet<number>,
): DesiredState {
  const roles = chooseDevices(network, options);
  const { desired } = store.take(settingsOf(options, network, roles, store.nodes));
  const services = options.runServiceProxy ? desired : [];
  const { uplinks, pods, bridges } = roles;
  const sources = tunnelSources(store.nodes, options.dsrSources).map((prefix) => ({ prefix, name: 0 }));
  const cluster = clusterRanges(store.nodes, options.clusterCidr);
  return {
    services,
    problems: services.flatMap((service) => service.problems),
    policy: options.runFirewall ? compilePolicy(store.policy, options) : NO_POLICY,
    own: ownAddresses(network),
    node: (endpoints) => ({
      ...{ uplinks, pods, bridges, xdp, endpoints, sources, cluster },
      bindings: bindings(network, pods, endpoints.keys()),
    }),
  };
}
