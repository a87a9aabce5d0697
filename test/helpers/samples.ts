/** Raw Kubernetes objects as kubectl prints them, for the tests of whatever reads them. */

type Raw = Record<string, unknown>;

/** A ClusterIP service shop/<name> at 10.96.0.<last> with port 80. */
export function rawService(name: string, last: number, spec: Raw = {}): Raw {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'shop' },
    spec: {
      type: 'ClusterIP',
      clusterIP: `10.96.0.${last}`,
      clusterIPs: [`10.96.0.${last}`],
      ports: [{ port: 80 }],
      ...spec,
    },
  };
}

/** An IPv4 slice of service shop/<service> whose endpoints listen on 8080. */
export function rawSlice(service: string, addresses: readonly string[], fields: Raw = {}): Raw {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${service}-1`, namespace: 'shop', labels: { 'kubernetes.io/service-name': service } },
    addressType: 'IPv4',
    ports: [{ port: 8080 }],
    endpoints: addresses.map((address) => ({ addresses: [address], nodeName: 'node-1' })),
    ...fields,
  };
}

export function rawNode(name: string, address: string): Raw {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { 'topology.kubernetes.io/zone': 'a' } },
    spec: { podCIDRs: ['10.244.1.0/24'] },
    status: {
      addresses: [
        { type: 'InternalIP', address },
        { type: 'Hostname', address: name },
      ],
    },
  };
}

/** Pod shop/<name> with label app=<name> on node-1, with port http at 8080. */
export function rawPod(name: string, address: string, fields: Raw = {}): Raw {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', labels: { app: name } },
    spec: { nodeName: 'node-1', containers: [{ name: 'main', ports: [{ name: 'http', containerPort: 8080 }] }] },
    status: { phase: 'Running', podIP: address, podIPs: [{ ip: address }] },
    ...fields,
  };
}

export function rawNamespace(name: string, labels: Raw = {}, annotations: Raw = {}): Raw {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels, annotations } };
}

/** NetworkPolicy shop/<name>; the spec as given, for all pods unless it says otherwise. */
export function rawPolicy(name: string, spec: Raw, annotations: Raw = {}): Raw {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace: 'shop', annotations },
    spec: { podSelector: {}, ...spec },
  };
}
