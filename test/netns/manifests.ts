/** Kubernetes objects as stories need them, short to write. */
import type { Pod } from './world.js';

/** Whatever serves: a pod, or a machine. */
export type Serving = Pick<Pod, 'ip' | 'name'> & { readonly node: { readonly name: string } };

export interface ServiceSpec {
  readonly name: string;
  readonly port?: number;
  readonly targetPort?: number;
  readonly nodePort?: number;
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP';
  readonly clusterIPs?: readonly string[];
  readonly externalIPs?: readonly string[];
  readonly loadBalancerIPs?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly externalTrafficPolicy?: 'Cluster' | 'Local';
  readonly internalTrafficPolicy?: 'Cluster' | 'Local';
  readonly loadBalancerSourceRanges?: readonly string[];
  readonly healthCheckNodePort?: number;
  /** s of session affinity. */
  readonly affinity?: number;
  readonly pods: readonly (Serving | { readonly pod: Serving; readonly terminating: true })[];
}

/** A Service with its EndpointSlices, one a family. */
export function service(spec: ServiceSpec): object[] {
  const { name, port = 80, targetPort = 8080, nodePort, protocol = 'TCP', annotations = {} } = spec;
  const metadata = { name, namespace: 'shop', annotations };
  const [clusterIP = '', ...others] = spec.clusterIPs ?? [];
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: {
        type: spec.loadBalancerIPs ? 'LoadBalancer' : nodePort ? 'NodePort' : 'ClusterIP',
        ...(clusterIP ? { clusterIP, clusterIPs: [clusterIP, ...others] } : {}),
        ...(spec.externalIPs ? { externalIPs: spec.externalIPs } : {}),
        ...(spec.externalTrafficPolicy ? { externalTrafficPolicy: spec.externalTrafficPolicy } : {}),
        ...(spec.internalTrafficPolicy ? { internalTrafficPolicy: spec.internalTrafficPolicy } : {}),
        ...(spec.loadBalancerSourceRanges ? { loadBalancerSourceRanges: spec.loadBalancerSourceRanges } : {}),
        ...(spec.healthCheckNodePort ? { healthCheckNodePort: spec.healthCheckNodePort } : {}),
        ...(spec.affinity
          ? { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: spec.affinity } } }
          : {}),
        ports: [{ name: 'main', port, targetPort, protocol, ...(nodePort ? { nodePort } : {}) }],
      },
      ...(spec.loadBalancerIPs
        ? { status: { loadBalancer: { ingress: spec.loadBalancerIPs.map((ip) => ({ ip })) } } }
        : {}),
    },
    ...(['v4', 'v6'] as const).map((family) => slice(spec, family, targetPort, protocol)),
  ];
}

function slice(spec: ServiceSpec, family: 'v4' | 'v6', port: number, protocol: string): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${spec.name}-${family}`,
      namespace: 'shop',
      labels: { 'kubernetes.io/service-name': spec.name },
    },
    addressType: family === 'v4' ? 'IPv4' : 'IPv6',
    ports: [{ name: 'main', port, protocol }],
    endpoints: spec.pods.map((entry) => {
      const pod = 'pod' in entry ? entry.pod : entry;
      const terminating = 'pod' in entry;
      return {
        addresses: [pod.ip(family)],
        targetRef: { kind: 'Pod', namespace: 'shop', name: pod.name },
        conditions: { ready: !terminating, serving: true, terminating },
        nodeName: pod.node.name,
      };
    }),
  };
}
