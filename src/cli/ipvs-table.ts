/** The services of the IPVS dataplane: names as the agent wrote them down, flows as IPVS counts them. */
import type { DesiredBackend, DesiredFrontend, DesiredService } from '../core/desired.js';
import { formatSocket } from '../core/net.js';
import { countConnections } from '../ipvs/connections.js';
import { readState, stateDirectory } from '../ipvs/state-file.js';
import { isLocked } from '../loader/pins.js';
import type { BackendRow, FrontendRow, ServiceRow } from './service-table.js';

/** undefined where no agent has used IPVS with this --bpf-root, or one uses BPF now. */
export function readIpvsServices(bpfRoot: string): ServiceRow[] | undefined {
  const state = readState(stateDirectory(bpfRoot));
  if (!state || isLocked(bpfRoot)) return undefined;
  const flows = countConnections();
  return [...state.services].sort((a, b) => (a.key < b.key ? -1 : 1)).map((service) => serviceRow(service, flows));
}

type Flows = ReadonlyMap<string, number>;

function serviceRow({ key, ports }: DesiredService, flows: Flows): ServiceRow {
  const [namespace = '', name = ''] = key.split('/');
  const frontends = ports.flatMap(({ label, frontends: list }) => list.map((one) => frontendRow(one, label, flows)));
  return { namespace, name, frontends };
}

function frontendRow(frontend: DesiredFrontend, label: string, flows: Flows): FrontendRow {
  const { kind, address, port, protocol, scheduler, forwarding, affinity, inside, outside } = frontend;
  const at = `${protocol} ${formatSocket(address, port)}`;
  const all = new Map([...outside, ...inside].map((backend) => [formatSocket(backend.address, backend.port), backend]));
  return {
    ...{ kind, address, port, protocol, scheduler, forwarding, affinity },
    portName: label.slice(label.lastIndexOf(':') + 1),
    backends: [...all].map(([socket, backend]) => backendRow(backend, flows.get(`${at} ${socket}`) ?? 0)),
  };
}

function backendRow({ address, port, nodeName, state, weight, local }: DesiredBackend, flows: number): BackendRow {
  return { address, port, node: nodeName, state, weight, local, flows };
}
