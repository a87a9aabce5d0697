/** Objects of policy in few words. What is not said is as plain as possible. */
import type {
  Change,
  ContainerPort,
  Namespace,
  NetworkPolicy,
  Pod,
  PolicyRule,
  Resource,
  Selector,
} from '../../src/core/model.js';
import { parsePrefix } from '../../src/core/net.js';
import { PolicyObjects } from '../../src/core/policy/objects.js';
import { ips } from './model.js';

/** Pod shop/<name> with label app=<name> on node-1. */
export function pod(name: string, address: string, fields: Partial<Pod> = {}): Pod {
  return {
    kind: 'Pod',
    namespace: 'shop',
    name,
    created: 0,
    labels: { app: name },
    addresses: address === '' ? [] : ips(...address.split(',')),
    ports: [],
    finished: false,
    hostNetwork: false,
    nodeName: 'node-1',
    ...fields,
  };
}

export function namespace(
  name: string,
  labels: Record<string, string> = {},
  fields: Partial<Namespace> = {},
): Namespace {
  return { kind: 'Namespace', name, labels: { ...labels, 'kubernetes.io/metadata.name': name }, ...fields };
}

/** An enforced NetworkPolicy shop/<name> for all pods; it isolates where rules are given. */
export function policy(name: string, fields: Partial<NetworkPolicy>): NetworkPolicy {
  return { kind: 'NetworkPolicy', namespace: 'shop', name, podSelector: [], mode: 'enforce', ...fields };
}

export function rule(fields: Partial<PolicyRule> = {}): PolicyRule {
  return { peers: [], ports: [], ...fields };
}

/** Pods with label app=<value>. */
export function app(value: string): Selector {
  return [{ key: 'app', operator: 'In', values: [value] }];
}

export function block(cidr: string, ...except: string[]): PolicyRule['peers'][number] {
  return { kind: 'block', cidr: parsePrefix(cidr)!, except: except.map((each) => parsePrefix(each)!) };
}

export const tcp = (first: number, last = first): PolicyRule['ports'][number] => ({
  protocol: 'TCP',
  range: [first, last],
});

export const http = (port: number): readonly ContainerPort[] => [{ name: 'http', protocol: 'TCP', port }];

export function objectsOf(...resources: Resource[]): PolicyObjects {
  const objects = new PolicyObjects();
  for (const resource of resources) objects.apply({ op: 'set', resource });
  return objects;
}

export const set = (resource: Resource): Change => ({ op: 'set', resource });
export const remove = (kind: 'Pod' | 'NetworkPolicy', name: string): Change => ({
  ...{ op: 'delete', kind, namespace: 'shop', name },
});
