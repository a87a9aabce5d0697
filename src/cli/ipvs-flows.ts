/** Flows of the IPVS dataplane, as the kernel's connections tell them. */
import type { DesiredFrontend } from '../core/desired.js';
import { formatSocket } from '../core/net.js';
import { type Connection, readConnections, readTimeouts, type Socket, stateName } from '../ipvs/connections.js';
import type { IpvsState } from '../ipvs/state-file.js';
import type { FlowRow } from './flow.js';
import { formatLabel, parsePortLabel } from './words.js';

/** A connection to a frontend of ours. */
export interface IpvsFlow {
  readonly connection: Connection;
  readonly frontend: DesiredFrontend;
  readonly label: string;
}

/** Others' connections are left out. */
export function ipvsFlows({ services }: IpvsState): IpvsFlow[] {
  const known = new Map(
    services.flatMap(({ ports }) =>
      ports.flatMap(({ label, frontends }) =>
        frontends.map((frontend) => [frontendText(frontend.protocol, frontend), { frontend, label }] as const),
      ),
    ),
  );
  return readConnections().flatMap((connection) => {
    const found = known.get(frontendText(connection.protocol, connection.frontend));
    return found ? [{ connection, ...found }] : [];
  });
}

function frontendText(protocol: string, { address, port }: Socket): string {
  return `${protocol} ${formatSocket(address, port)}`;
}

export function ipvsFlowRows(state: IpvsState): FlowRow[] {
  const timeouts = readTimeouts();
  return ipvsFlows(state).map(({ connection, frontend, label }) => {
    const { protocol, client, backend, expires } = connection;
    const port = parsePortLabel(label);
    return {
      client: socketText(client),
      frontend: socketText(connection.frontend),
      backend: socketText(backend),
      protocol,
      forwarding: frontend.forwarding,
      state: stateName(connection),
      idleSeconds: Math.max(0, (timeouts.of(connection) ?? expires) - expires),
      service: port ? formatLabel(port) : label,
    };
  });
}

export function socketText({ address, port }: Socket): string {
  return formatSocket(address, port);
}

/** Clients by `label backend` of flows that are not closing. */
export function clientsByBackend(state: IpvsState): Map<string, string[]> {
  const clients = new Map<string, string[]>();
  for (const { connection, label } of ipvsFlows(state)) {
    if (stateName(connection).startsWith('clos')) continue;
    const key = `${label} ${socketText(connection.backend)}`;
    clients.set(key, [...(clients.get(key) ?? []), socketText(connection.client)]);
  }
  return clients;
}
