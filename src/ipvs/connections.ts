/** Connections as IPVS tells them in ipvsadm -Lcn. */
import { type Ip, parseIp } from '../core/net.js';
import { runTool, runToolLater } from './tools.js';

export interface Socket {
  readonly address: Ip;
  readonly port: number;
}

export interface Connection {
  /** In capitals. */
  readonly protocol: string;
  readonly client: Socket;
  readonly frontend: Socket;
  readonly backend: Socket;
  /** As the kernel calls it: ESTABLISHED, SYN_RECV, ... */
  readonly state: string;
  /** s until it is forgotten, unless another packet comes. */
  readonly expires: number;
}

/** Nothing more is to come in either direction. */
const ENDED = /^(TIME_WAIT|CLOSE|CLOSED)$/;
/** One end has ended its direction. */
const CLOSING = /^(FIN_WAIT|LAST_ACK|CLOSE_WAIT|SHUTDOWN_\w+)$/;

/** Connections, without what IPVS's persistence remembers. */
export function parseConnections(text: string): Connection[] {
  return parseEntries(text).filter(({ client }) => client.port !== 0);
}

/** Which backend a client keeps by IPVS's persistence, and for how long; the client's port is 0. */
export function parseTemplates(text: string): Connection[] {
  return parseEntries(text).filter(({ client }) => client.port === 0);
}

function parseEntries(text: string): Connection[] {
  return text.split('\n').flatMap((line) => {
    const [protocol = '', expires = '', state = '', ...ends] = line.trim().split(/\s+/);
    const [client, frontend, backend] = ends.map(parseSocket);
    if (!client || !frontend || !backend || !/^\d+:\d\d$/.test(expires)) return [];
    const [minutes = 0, seconds = 0] = expires.split(':').map(Number);
    return [{ protocol, client, frontend, backend, state, expires: minutes * 60 + seconds }];
  });
}

function parseSocket(text: string): Socket | undefined {
  const at = text.lastIndexOf(':');
  const address = parseIp(text.slice(0, at).replace(/^\[|\]$/g, ''));
  return address && { address, port: Number(text.slice(at + 1)) };
}

const LIST = ['-Lcn'];

/** All of them, ours or not. */
export function readConnections(): Connection[] {
  return parseConnections(listConnections());
}

/** As ipvsadm tells them. Throws WEIR_TOOL, also where it takes longer than `limit` ms. */
export function listConnections(limit?: number): string {
  return runTool('ipvsadm', LIST, undefined, limit);
}

/** The same, while other work goes on. */
export async function listConnectionsLater(): Promise<string> {
  return runToolLater('ipvsadm', LIST);
}

/** Those in which something may still be said, and the templates of persistence. */
export function parseLive(text: string): { readonly connections: Connection[]; readonly templates: Connection[] } {
  const connections = parseConnections(text).filter(({ state }) => !ENDED.test(state));
  return { connections, templates: parseTemplates(text) };
}

/** s after its last packet until a connection is forgotten, where the state says it: ipvsadm --set changes them. */
export function parseTimeouts(text: string): {
  of(connection: Pick<Connection, 'protocol' | 'state'>): number | undefined;
} {
  const [tcp, fin, udp] = (/:\s*(\d+) (\d+) (\d+)/.exec(text) ?? []).slice(1).map(Number);
  return {
    of: ({ protocol, state }) =>
      protocol === 'UDP' ? udp : protocol !== 'TCP' ? undefined : { ESTABLISHED: tcp, FIN_WAIT: fin }[state],
  };
}

export function readTimeouts(): ReturnType<typeof parseTimeouts> {
  return parseTimeouts(runTool('ipvsadm', ['-l', '--timeout']));
}

/** A connection's state in the words that flows have with either dataplane. */
export function stateName({ protocol, state }: Connection): string {
  if (ENDED.test(state)) return 'closed';
  if (CLOSING.test(state)) return 'closing';
  return state === 'ESTABLISHED' || protocol === 'UDP' ? 'established' : 'new';
}
