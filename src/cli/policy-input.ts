/** What the commands about policies read: a folder of manifests, without a kernel, a cluster or an agent. */
import { resolve } from 'node:path';
import { DENY_ACTIONS, type DenyAction, type Problem } from '../core/model.js';
import { parseIp, PROTOCOLS } from '../core/net.js';
import type { Cluster, Party, Target } from '../core/policy/evaluate.js';
import { addressParty, podParties } from '../core/policy/parties.js';
import type { Store } from '../core/store.js';
import { WeirError } from '../errors.js';
import { manifestSource } from '../watch/manifests.js';
import type { Context } from './context.js';
import { readObjects } from './desired-state.js';
import { flag, optional, type Parser, usageError } from './flags.js';
import { oneOf, path } from './parse.js';

export const MANIFESTS = optional('--manifests <DIR>', 'folder of manifests: policies, pods, namespaces', path);
export const DENY_ACTION = flag<DenyAction>(
  '--deny-action <ACTION>',
  'what becomes of denied traffic where no annotation says so: drop or reject',
  oneOf(DENY_ACTIONS),
  'drop',
);

export const target: Parser<Target> = (text, refuse) => {
  const [, digits = '', name = 'tcp'] = /^(\d{1,5})(?:\/(\w+))?$/.exec(text) ?? [];
  const protocol = PROTOCOLS.find((each) => each === name.toUpperCase());
  const port = Number(digits);
  return protocol && port >= 1 && port <= 65535 ? { protocol, port } : refuse('is not PORT/tcp, PORT/udp or PORT/sctp');
};

/** `NS/NAME` or an address. */
export const party: Parser<string> = (text, refuse) =>
  parseIp(text) ??
  (/^[a-z0-9.-]+\/[a-z0-9.-]+$/.test(text) ? text : refuse('is neither NAMESPACE/NAME nor an address'));

/** The value of a flag without which nothing can be told. */
export function required<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw usageError(`${name} is missing`);
  return value;
}

/**
 * The objects of a folder. Throws WEIR_INVALID_OBJECT where a policy, a pod, a namespace or a file has a fault, which is
 * written down first: an answer about other policies than the folder's would be worse than none.
 */
export async function readCluster(directory: string, { stderr, signal }: Context): Promise<Store> {
  const source = manifestSource({ directory: resolve(directory) });
  let faults = 0;
  const report = ({ object, field, message }: Problem): void => {
    const about = /^(Service|EndpointSlice|Node) /.test(object);
    if (!about) faults++;
    stderr.write(`weir: ${about ? 'warning: ' : ''}${[object, field].filter(Boolean).join(': ')}: ${message}\n`);
  };
  const store = await readObjects(source, report, signal);
  if (faults > 0)
    throw new WeirError('WEIR_INVALID_OBJECT', `read ${directory}: ${faults} ${faults === 1 ? 'fault' : 'faults'}`);
  return store;
}

export function clusterOf({ policy }: Store, denyAction: DenyAction): Cluster {
  return { pods: policy.pods, namespaces: policy.namespaces, policies: policy.policies, denyAction };
}

/** The parties behind an address or a pod's name; undefined where there is no such pod. */
export function findParties(store: Store, cluster: Cluster, text: string): readonly Party[] | undefined {
  const ip = parseIp(text);
  return ip === undefined ? podParties(cluster, text) : [addressParty(cluster, store.nodes, ip)];
}

/** Says what there is where the name of something is not found. */
export function unknown(flagName: string, text: string, what: string, cluster: Cluster): WeirError {
  const [namespace = ''] = text.split('/');
  const known = [...cluster.pods.keys()].filter((key) => key.startsWith(`${namespace}/`));
  const names = known.length > 0 ? `; pods there: ${known.sort().slice(0, 5).join(', ')}` : '';
  return usageError(`${flagName}: ${JSON.stringify(text)} is no ${what} in these manifests${names}`);
}
