/** The flags of the agent, and the options that they make. */
import { DENY_ACTIONS, FORWARDINGS, SCHEDULERS } from '../core/model.js';
import { XDP_MODES } from '../loader/xdp.js';
import { type AgentOptions, DATAPLANES } from '../options.js';
import { BPF_ROOT } from './common-flags.js';
import type { Context } from './context.js';
import { flag, optional, usageError, type Values } from './flags.js';
import {
  apiServer,
  bool,
  deviceName,
  duration,
  flowEntries,
  glob,
  list,
  listen,
  nodePortRule,
  oneOf,
  oneOfEachFamily,
  path,
  portRange,
  prefixes,
  proxyName,
  word,
} from './parse.js';

/** Those that decide what should be in the kernel: `weir diff` takes them as well. */
export const STATE_FLAGS = {
  dataplane: flag('--dataplane <NAME>', 'bpf, or ipvs with nftables', oneOf(DATAPLANES), 'bpf'),
  manifests: optional('--manifests <DIR>', 'read the objects from the YAML and JSON files of this folder', path),
  kubeconfig: optional(
    '--kubeconfig <FILE>',
    'read the objects from the API server of this file (default: in-cluster)',
    path,
  ),
  apiserver: flag(
    '--apiserver <HOST:PORT,...>',
    'where the API server is, in place of its ClusterIP',
    list(apiServer),
    '',
  ),
  nodeName: optional('--node-name <NAME>', 'this node (default: $NODE_NAME, then the host name)', word),
  devices: flag(
    '--devices <NAMES>',
    'uplinks and overlay devices; none: those with a default route',
    list(deviceName),
    '',
  ),
  podDevices: flag('--pod-devices <GLOBS>', "the host's side of pod devices", list(glob), 'veth*,cali*,lxc*,eni*'),
  forwarding: flag(
    '--forwarding <MODE>',
    'nat, dsr or dsr-l2, for services that do not say',
    oneOf(FORWARDINGS),
    'nat',
  ),
  scheduler: flag(
    '--scheduler <NAME>',
    'maglev, rr, lc, sh, dh or random, for services that do not say',
    oneOf(SCHEDULERS),
    'maglev',
  ),
  nodeportAddresses: flag(
    '--nodeport-addresses <CIDRS>',
    'where node ports are served: all, primary or prefixes',
    nodePortRule,
    'all',
  ),
  dsrSources: flag('--dsr-sources <CIDRS>', 'from where, besides nodes, tunnelled packets are accepted', prefixes, ''),
  clusterCidr: flag(
    '--cluster-cidr <CIDRS>',
    "sources that count as the cluster's own; none: the pod ranges of the nodes",
    prefixes,
    '',
  ),
  serviceProxyName: flag(
    '--service-proxy-name <NAME>',
    'serve services that are labelled for a proxy of this name, too',
    proxyName,
    '',
  ),
  runServiceProxy: flag('--run-service-proxy [BOOL]', 'whether services are served', bool, 'true', 'true'),
  runFirewall: flag('--run-firewall [BOOL]', 'whether network policies are enforced', bool, 'true', 'true'),
  denyAction: flag(
    '--deny-action <ACTION>',
    'drop or reject, for policies and namespaces that do not say',
    oneOf(DENY_ACTIONS),
    'drop',
  ),
  bpfRoot: BPF_ROOT,
} as const;

/** The rest. What is ignored so far does no harm by that; what would is refused. */
export const AGENT_FLAGS = {
  ...STATE_FLAGS,
  xdp: flag('--xdp <MODE>', 'auto, native, generic or off', oneOf(XDP_MODES), 'auto'),
  snatPorts: flag('--snat-ports <A-B>', 'ports to which sources are translated', portRange, '61000-65535'),
  fastPath: flag('--fast-path [BOOL]', "whether flows may be redirected past the node's stack", bool, 'true', 'true'),
  drainTimeout: flag('--drain-timeout <DURATION>', 'how long a removed backend keeps its TCP flows', duration, '300s'),
  cgroup: optional('--cgroup <PATH>', 'serve processes of this host, too: those below this cgroup2 directory', path),
  flowEntries: optional('--flow-entries <V4[,V6]>', 'sizes of the flow tables, where they are made anew', flowEntries),
  healthBindAddress: flag(
    '--health-bind-address <ADDR:PORT>',
    'serves /healthz /livez /readyz',
    listen,
    '0.0.0.0:10256',
  ),
  metricsBindAddress: flag(
    '--metrics-bind-address <ADDR:PORT>',
    'serves /metrics /proxyMode',
    listen,
    '127.0.0.1:10249',
  ),
  serviceCidr: flag(
    '--service-cidr <CIDRS>',
    'where ClusterIPs are given out: addresses that no service has are refused',
    oneOfEachFamily,
    '',
  ),
  masqueradeAll: flag(
    '--masquerade-all [BOOL]',
    'whether the source of every translated flow is replaced',
    bool,
    'false',
    'true',
  ),
  takeoverGrace: flag(
    '--takeover-grace <DURATION>',
    'how long UDP under way is let through after the first start, and connections of the other dataplane at least when taking over',
    duration,
    '60s',
  ),
  keepEstablished: flag(
    '--keep-established [BOOL]',
    'whether flows that a change of policy no longer allows go on',
    bool,
    'false',
    'true',
  ),
  defaultDenyUnknown: flag(
    '--default-deny-unknown [BOOL]',
    'whether addresses at pod devices that no known pod has are cut off',
    bool,
    'false',
    'true',
  ),
} as const;

type StateValues = Values<typeof STATE_FLAGS>;

/** The options for an agent, or a usage error where flags do not go together. */
export function agentOptions(values: Values<typeof AGENT_FLAGS>, context: Context): AgentOptions {
  const { xdp, snatPorts, healthBindAddress, metricsBindAddress, fastPath, cgroup, drainTimeout, flowEntries } = values;
  const health = healthBindAddress === 'nowhere' ? undefined : healthBindAddress;
  const metrics = metricsBindAddress === 'nowhere' ? undefined : metricsBindAddress;
  const { serviceCidr, masqueradeAll, takeoverGrace, keepEstablished, defaultDenyUnknown } = values;
  return {
    ...stateOptions(values, context),
    ...{ xdp, snatPorts, health, metrics, fastPath, cgroup, drainTimeout, flowEntries },
    ...{ serviceCidr, masqueradeAll, takeoverGrace, keepEstablished, defaultDenyUnknown },
  };
}

export type StateOptions = Omit<
  AgentOptions,
  | 'xdp'
  | 'snatPorts'
  | 'health'
  | 'metrics'
  | 'fastPath'
  | 'cgroup'
  | 'drainTimeout'
  | 'flowEntries'
  | 'serviceCidr'
  | 'masqueradeAll'
  | 'takeoverGrace'
  | 'keepEstablished'
  | 'defaultDenyUnknown'
>;

export function stateOptions(values: StateValues, context: Context): StateOptions {
  const { bpfRoot, manifests, kubeconfig, devices, podDevices, forwarding, scheduler, dsrSources, runServiceProxy } =
    values;
  if (manifests !== undefined && kubeconfig !== undefined) {
    throw usageError(
      `--manifests: ${JSON.stringify(manifests)} does not go with --kubeconfig ${JSON.stringify(kubeconfig)}`,
    );
  }
  return {
    dataplane: values.dataplane,
    bpfRoot,
    nodeName: values.nodeName ?? nodeNameOf(context),
    manifests,
    kubeconfig,
    apiservers: values.apiserver,
    devices,
    podDevices,
    forwarding,
    scheduler,
    nodePortAddresses: values.nodeportAddresses,
    dsrSources,
    clusterCidr: values.clusterCidr,
    serviceProxyName: values.serviceProxyName,
    runServiceProxy,
    runFirewall: values.runFirewall,
    denyAction: values.denyAction,
  };
}

/** As the kubelet names the node: the host name in lower case. */
function nodeNameOf(context: Context): string {
  return context.env['NODE_NAME']?.trim() || context.hostname().trim().toLowerCase();
}
