/** Who is behind a tunnel: IPVS knows the node that it leads to. Pure. */
import type { DesiredService } from '../core/desired.js';
import { familyOf, type Ip } from '../core/net.js';
import type { Connection, Socket } from './connections.js';
import { type NodeAddresses, tunnelEnd } from './wanted.js';

/**
 * What gives a connection the backend itself in place of its node, where that node has one backend of the service: of several,
 * the node alone knows which. Other connections stay as they are.
 */
export function behindTunnels(
  services: readonly DesiredService[],
  nodes: NodeAddresses,
): (connection: Connection) => Connection {
  const behind = new Map<string, Socket[]>();
  for (const { frontends, backends } of services.flatMap(({ ports }) => ports)) {
    for (const backend of backends.filter(({ local }) => !local)) {
      const node = tunnelEnd(nodes, backend.nodeName, familyOf(backend.address));
      if (node === undefined) continue;
      for (const frontend of frontends.filter(({ forwarding }) => forwarding === 'dsr')) {
        const key = tunnelName(frontend, node);
        behind.set(key, [...(behind.get(key) ?? []), backend]);
      }
    }
  }
  return (connection) => {
    const { frontend, protocol, backend } = connection;
    const [only, another] = behind.get(tunnelName({ ...frontend, protocol }, backend.address)) ?? [];
    return only && !another ? { ...connection, backend: { address: only.address, port: only.port } } : connection;
  };
}

/** Names the tunnel by which a frontend's packets go to a node. */
function tunnelName({ address, port, protocol }: Socket & { readonly protocol: string }, node: Ip): string {
  return `${address} ${port} ${protocol} ${node}`;
}
