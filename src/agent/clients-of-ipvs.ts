/**
 * What IPVS knows of clients when BPF takes over. Segments of TCP tell by themselves that they belong to an older connection;
 * datagrams do not, so that each flow of theirs gets an entry by which BPF leaves it to IPVS, as long as its backend takes flows.
 * Clients that keep their backend by IPVS's persistence keep it.
 */
import { familyOf, ipBytes, PROTOCOL_NUMBER, PROTOCOLS } from '../core/net.js';
import type { Connection } from '../ipvs/connections.js';
import { ANY_NODE } from '../maps/encode.js';
import { backendName } from '../maps/keys.js';
import {
  BACKEND_STATE,
  type Flow,
  FLOW_KIND,
  FLOW_STATE,
  FORWARDING,
  type Frontend,
  type FrontendKey,
  MAPS,
} from '../maps/layout.js';
import { lastWord } from '../maps/service-config.js';
import { openTable } from '../maps/table.js';

/** A connection or template of IPVS in the numbers of BPF's tables. */
interface Known extends Connection {
  readonly number: number;
  readonly served: Frontend;
  readonly id: number;
}

/**
 * Writes entries for those of the connections that are flows of datagrams; `seen` in kernel ticks. Returns how many. Left out are
 * flows that BPF has by now, and those that name a node in place of their backend.
 */
export function leaveFlows(root: string, connections: readonly Connection[], seen: bigint): number {
  using flows4 = openTable(root, MAPS.weir_flows4);
  using flows6 = openTable(root, MAPS.weir_flows6);
  const added = knownIn(root, connections).filter(({ number, served, id, client, frontend, backend }) => {
    if (number === PROTOCOL_NUMBER.TCP) return false;
    const ports = { sourcePort: client.port, destinationPort: frontend.port, protocol: number };
    const flow: Flow = {
      ...{ seen, kind: FLOW_KIND.LEFT, state: FLOW_STATE.ESTABLISHED, forwarding: FORWARDING.NAT, flags: 0 },
      ...{ service: served.service, backend: id, ...backend, natPort: 0, nat: ANY_NODE.v6 },
    };
    if (familyOf(client.address) === 'v6')
      return flows6.add({ source: client.address, destination: frontend.address, ...ports }, flow);
    return flows4.add(
      { source: lastWord(ipBytes(client.address)), destination: lastWord(ipBytes(frontend.address)), ...ports },
      flow,
    );
  });
  return added.length;
}

/** Session affinity goes on with these templates of IPVS's persistence; `now` in kernel ticks. Returns of how many clients. */
export function keepAffinity(root: string, templates: readonly Connection[], now: bigint, perSecond: number): number {
  using clients = openTable(root, MAPS.weir_affinity);
  const added = knownIn(root, templates).filter(({ client, served, id, expires }) => {
    const elapsed = BigInt(Math.max(0, served.affinity - expires) * perSecond);
    return clients.add({ client: client.address, service: served.service }, { seen: now - elapsed, backend: id });
  });
  return added.length;
}

/** Those whose frontend has a backend like theirs that takes new flows. */
function knownIn(root: string, connections: readonly Connection[]): Known[] {
  using frontends = openTable(root, MAPS.weir_frontends);
  using backends = openTable(root, MAPS.weir_backends);
  const services = new Map([...frontends.entries()].map(([key, frontend]) => [frontendName(key), frontend]));
  const ids = new Map<string, number>();
  for (const [id, backend] of backends.entries())
    if (backend.state === BACKEND_STATE.ACTIVE) ids.set(backendName(backend.service, backend), id);
  return connections.flatMap((connection) => {
    const { frontend, backend } = connection;
    const protocol = PROTOCOLS.find((name) => name === connection.protocol);
    if (!protocol) return [];
    const key = { ...frontend, protocol: PROTOCOL_NUMBER[protocol] };
    const ofAnyNode = { ...key, address: ANY_NODE[familyOf(frontend.address)] };
    const served = services.get(frontendName(key)) ?? services.get(frontendName(ofAnyNode));
    const id = served && ids.get(backendName(served.service, backend));
    return !served || id === undefined ? [] : [{ ...connection, number: key.protocol, served, id }];
  });
}

function frontendName({ address, port, protocol }: FrontendKey): string {
  return `${address} ${port} ${protocol}`;
}
