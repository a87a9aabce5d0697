/** The service tables as they are pinned, told in names instead of numbers. */
import { familyOf, formatSocket, type Ip, protocolName } from '../core/net.js';
import { ANY_NODE } from '../maps/encode.js';
import { type Backend, BACKEND_FLAG, MAPS } from '../maps/layout.js';
import { openTable } from '../maps/table.js';
import { countFlows } from './flow-table.js';
import {
  backendStateName,
  compareIp,
  formatLabel,
  forwardingName,
  kindName,
  parsePortLabel,
  type PortLabel,
  schedulerName,
} from './words.js';

export interface BackendRow {
  readonly address: Ip;
  readonly port: number;
  /** '' where unknown. */
  readonly node: string;
  readonly state: string;
  readonly weight: number;
  readonly local: boolean;
  readonly flows: number;
}

export interface FrontendRow {
  readonly kind: string;
  readonly address: Ip;
  readonly port: number;
  readonly protocol: string;
  readonly portName: string;
  readonly scheduler: string;
  readonly forwarding: string;
  /** s for which a client keeps its backend, 0: no session affinity. */
  readonly affinity: number;
  readonly backends: readonly BackendRow[];
}

export interface ServiceRow {
  readonly namespace: string;
  readonly name: string;
  readonly frontends: readonly FrontendRow[];
}

/** One port of a service with its backends. */
export interface PortBackends {
  readonly label: PortLabel;
  readonly backends: readonly (BackendRow & { readonly protocol: string })[];
}

export type Names = ReadonlyMap<number, string>;

export function readNames(root: string): Names {
  using table = openTable(root, MAPS.weir_names);
  return new Map([...table.entries()].map(([id, { text }]) => [id, text]));
}

/** The label of a service port; one whose name is lost shows its number. */
export function labelOf(names: Names, id: number): PortLabel {
  return parsePortLabel(names.get(id) ?? '') ?? { namespace: '', name: `#${id}`, port: '' };
}

/** Backends by the number of their service port, in order of address and port. */
export function readBackends(root: string, names: Names): Map<number, PortBackends> {
  const flows = countFlows(root);
  const found = new Map<number, { label: PortLabel; backends: (BackendRow & { protocol: string })[] }>();
  using table = openTable(root, MAPS.weir_backends);
  for (const [id, backend] of table.entries()) {
    const port = found.get(backend.service) ?? { label: labelOf(names, backend.service), backends: [] };
    port.backends.push(backendRow(backend, names, flows.get(id) ?? 0));
    found.set(backend.service, port);
  }
  for (const { backends } of found.values())
    backends.sort((a, b) => compareIp(a.address, b.address) || a.port - b.port);
  return found;
}

function backendRow(backend: Backend, names: Names, flows: number): BackendRow & { protocol: string } {
  return {
    address: backend.address,
    port: backend.port,
    protocol: protocolName(backend.protocol),
    node: (names.get(backend.node) ?? '').replace(/^Node /, ''),
    state: backendStateName(backend.state),
    weight: backend.weight,
    local: (backend.flags & BACKEND_FLAG.LOCAL) !== 0,
    flows,
  };
}

/** Services by namespace and name, their frontends in order of kind, address and port. */
export function readServices(root: string): ServiceRow[] {
  const names = readNames(root);
  const backends = readBackends(root, names);
  const services = new Map<string, { namespace: string; name: string; rows: { kind: number; row: FrontendRow }[] }>();
  using table = openTable(root, MAPS.weir_frontends);
  for (const [{ address, port, protocol }, frontend] of table.entries()) {
    if (address === ANY_NODE.v4 || address === ANY_NODE.v6) continue; // stands for the node ports that are listed with their addresses
    const label = labelOf(names, frontend.service);
    const key = `${label.namespace}/${label.name}`;
    const service = services.get(key) ?? { namespace: label.namespace, name: label.name, rows: [] };
    services.set(key, service);
    const all = backends.get(frontend.service)?.backends ?? [];
    const row = {
      kind: kindName(frontend.kind),
      address,
      port,
      protocol: protocolName(protocol),
      portName: label.port,
      scheduler: schedulerName(frontend.scheduler),
      forwarding: forwardingName(frontend.forwarding),
      affinity: frontend.affinity,
      backends: all.filter((backend) => familyOf(backend.address) === familyOf(address)).map(withoutProtocol),
    };
    service.rows.push({ kind: frontend.kind, row });
  }
  return [...services.values()].sort(byName).map(({ namespace, name, rows }) => ({
    namespace,
    name,
    frontends: rows.sort((a, b) => a.kind - b.kind || byPlace(a.row, b.row)).map(({ row }) => row),
  }));
}

function withoutProtocol({ address, port, node, state, weight, local, flows }: BackendRow): BackendRow {
  return { address, port, node, state, weight, local, flows };
}

/** By namespace, then name. */
export function byName(a: { namespace: string; name: string }, b: { namespace: string; name: string }): number {
  if (a.namespace !== b.namespace) return a.namespace < b.namespace ? -1 : 1;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

export function byPlace(a: FrontendRow, b: FrontendRow): number {
  return compareIp(a.address, b.address) || a.port - b.port || a.protocol.localeCompare(b.protocol);
}

/** The way ipvsadm -Ln shows them: a line for each frontend, below it its backends. */
export function formatServices(services: readonly ServiceRow[]): string {
  const lines = services.flatMap((service) =>
    service.frontends.flatMap((frontend) => {
      const { protocol, address, port, kind, portName, scheduler, forwarding, affinity, backends } = frontend;
      const name = formatLabel({ ...service, port: portName });
      return [
        `${protocol} ${formatSocket(address, port)} ${kind} ${name} ${scheduler} ${forwarding}${affinity > 0 ? ` affinity ${affinity}s` : ''}`,
        ...backends.map(formatBackend),
      ];
    }),
  );
  return lines.length > 0 ? `${lines.join('\n')}\n` : 'no services\n';
}

function formatBackend({ address, port, node, state, weight, flows }: BackendRow): string {
  return `  -> ${formatSocket(address, port)} ${node || '-'} ${state} weight ${weight} flows ${flows}`;
}
