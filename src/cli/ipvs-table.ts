/** The services of the IPVS dataplane: names as the agent wrote them down, flows as IPVS counts them. */
import { modeOf } from '../agent/installed.js';
import type { DesiredBackend, DesiredPort } from '../core/desired.js';
import { familyOf, formatSocket, parseIp } from '../core/net.js';
import { type IpvsState, readState, stateDirectory } from '../ipvs/state-file.js';
import { matchText } from '../ipvs/virtual.js';
import { clientsByBackend } from './ipvs-flows.js';
import { byName, type BackendRow, byPlace, type FrontendRow, type ServiceRow } from './service-table.js';
import { compareIp, FRONTEND_ORDER, parsePortLabel, type PortLabel } from './words.js';

/** What the agent has written down; undefined where the node's dataplane is not IPVS. */
export function readIpvs(bpfRoot: string): IpvsState | undefined {
  const state = readState(stateDirectory(bpfRoot));
  return state && modeOf(bpfRoot) === 'ipvs' ? state : undefined;
}

export interface IpvsBackend extends BackendRow {
  readonly protocol: string;
  /** ADDRESS:PORT of each flow's client. */
  readonly clients: readonly string[];
}

export interface IpvsPort {
  readonly label: PortLabel;
  readonly port: DesiredPort;
  /** In order of address and port, those included that are gone but for their connections. */
  readonly backends: readonly IpvsBackend[];
}

/** Ports of all services, by name. */
export function ipvsPorts(state: IpvsState): IpvsPort[] {
  const clients = clientsByBackend(state);
  const ports = state.services.flatMap((service) =>
    service.ports.map((port) => {
      const backends = [...port.backends, ...draining(state, port)].map((backend) => {
        const { address, port: number, nodeName: node, protocol, state: phase, weight, local } = backend;
        const held = clients.get(`${port.label} ${formatSocket(address, number)}`) ?? [];
        return {
          address,
          port: number,
          protocol,
          node,
          state: phase,
          weight,
          local,
          flows: held.length,
          clients: held,
        };
      });
      backends.sort((a, b) => compareIp(a.address, b.address) || a.port - b.port);
      return { label: labelOf(port.label), port, backends };
    }),
  );
  return ports.sort((a, b) => byName(a.label, b.label) || (a.label.port < b.label.port ? -1 : 1));
}

/** Removed backends that keep their connections: real servers with a deadline, of virtual servers that have an address. */
function draining(state: IpvsState, port: DesiredPort): DesiredBackend[] {
  const known = new Set(port.backends.map(({ address, port: number }) => formatSocket(address, number)));
  const found = new Map<string, DesiredBackend>();
  for (const frontend of port.frontends) {
    const prefix = `${matchText({ ...frontend, kind: 'address' })} `;
    for (const name of Object.keys(state.deadlines)) {
      const socket = name.slice(prefix.length);
      if (!name.startsWith(prefix) || known.has(socket)) continue;
      const at = socket.lastIndexOf(':');
      const address = parseIp(socket.slice(0, at).replace(/^\[|\]$/g, ''));
      if (frontend.forwarding !== 'nat' || address === undefined) continue; // by tunnel it is a node that drains
      const { protocol } = frontend;
      const rest = { nodeName: '', weight: 0, state: 'terminating', local: false, host: false } as const;
      found.set(socket, { address, port: Number(socket.slice(at + 1)), protocol, ...rest });
    }
  }
  return [...found.values()];
}

/** Services by name, their frontends in order of kind, address and port. */
export function ipvsServices(state: IpvsState): ServiceRow[] {
  const services = new Map<string, { namespace: string; name: string; frontends: FrontendRow[] }>();
  for (const { label, port, backends } of ipvsPorts(state)) {
    const { namespace, name, port: portName } = label;
    const key = `${namespace}/${name}`;
    const service = services.get(key) ?? { namespace, name, frontends: [] };
    services.set(key, service);
    for (const { kind, address, port: number, protocol, scheduler, forwarding, affinity } of port.frontends) {
      const at = { kind, address, port: number, protocol, portName, scheduler, forwarding, affinity };
      const own = backends.filter((backend) => familyOf(backend.address) === familyOf(address)).map(plain);
      service.frontends.push({ ...at, backends: own });
    }
  }
  for (const { frontends } of services.values())
    frontends.sort((a, b) => FRONTEND_ORDER.indexOf(a.kind) - FRONTEND_ORDER.indexOf(b.kind) || byPlace(a, b));
  return [...services.values()].sort(byName);
}

function plain({ address, port, node, state, weight, local, flows }: IpvsBackend): BackendRow {
  return { address, port, node, state, weight, local, flows };
}

function labelOf(text: string): PortLabel {
  return parsePortLabel(text) ?? { namespace: '', name: text, port: '' };
}
