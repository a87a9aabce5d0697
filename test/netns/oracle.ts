/** The specification's answer to what a grid asks: the objects are read as the agent reads them, then evaluated one by one. */
import { parseResource } from '../../src/core/objects.js';
import { parseIp } from '../../src/core/net.js';
import { evaluate, type Party } from '../../src/core/policy/evaluate.js';
import { PolicyObjects } from '../../src/core/policy/objects.js';
import type { Oracle } from './grid.js';

const read = new WeakMap<readonly object[], PolicyObjects>();

export const specification: Oracle = (objects, { from, to, port, protocol, family }) => {
  const cluster = { ...known(objects), denyAction: 'drop' } as const;
  const party = (end: string): Party => {
    const pod = cluster.pods.get(end);
    const ip = pod?.addresses.find((address) => address.includes(':') === (family === 'v6')) ?? parseIp(end);
    if (!ip) throw new Error(`neither a pod nor an address: ${end}`);
    return { ip, pod, node: '' };
  };
  return evaluate(cluster, party(from), party(to), { protocol, port }).allowed;
};

function known(objects: readonly object[]): Pick<PolicyObjects, 'pods' | 'namespaces' | 'policies'> {
  const before = read.get(objects);
  const all = before ?? new PolicyObjects();
  if (!before) {
    read.set(objects, all);
    for (const object of objects) {
      const parsed = parseResource(object);
      if (parsed.kind === 'resource') all.apply({ op: 'set', resource: parsed.resource });
    }
  }
  return { pods: all.pods, namespaces: all.namespaces, policies: all.policies };
}
