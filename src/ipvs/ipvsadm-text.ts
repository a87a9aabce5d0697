/** The language of ipvsadm --save -n and --restore: reads what is there, writes the difference to what should be. */
import { parseIp, type Protocol } from '../core/net.js';
import {
  type Match,
  matchText,
  type Method,
  METHODS,
  type RealServer,
  serverKey,
  type VirtualServer,
  type VirtualServers,
} from './virtual.js';

const METHOD_FLAG: Readonly<Record<Method, string>> = { masq: '-m', tunnel: '-i', gateway: '-g' };
const PROTOCOLS: Readonly<Record<string, Protocol>> = { '-t': 'TCP', '-u': 'UDP', '--sctp-service': 'SCTP' };

/** Everything that IPVS holds, ours or not. Lines that are not understood are left out: they are nobody's of ours. */
export function parseSaved(text: string): Map<string, VirtualServer> {
  const found = new Map<string, VirtualServer & { readonly servers: Map<string, RealServer> }>();
  for (const line of text.split('\n')) {
    const words = line.trim().split(/\s+/);
    const match = parseMatch(words);
    if (!match) continue;
    const key = matchText(match);
    if (words[0] === '-A') found.set(key, { match, ...parseService(words), servers: new Map() });
    const server = words[0] === '-a' ? parseServer(words) : undefined;
    if (server) found.get(key)?.servers.set(serverKey(server), server);
  }
  return found;
}

function valueOf(words: readonly string[], ...flags: readonly string[]): string | undefined {
  const at = words.findIndex((word) => flags.includes(word));
  return at < 0 ? undefined : words[at + 1];
}

function parseMatch(words: readonly string[]): Match | undefined {
  const mark = valueOf(words, '-f');
  if (mark !== undefined) return { kind: 'mark', mark: Number(mark), family: words.includes('-6') ? 'v6' : 'v4' };
  for (const [flag, protocol] of Object.entries(PROTOCOLS)) {
    const socket = parseSocket(valueOf(words, flag));
    if (socket) return { kind: 'address', ...socket, protocol };
  }
  return undefined;
}

function parseSocket(text = ''): Pick<RealServer, 'address' | 'port'> | undefined {
  const at = text.lastIndexOf(':');
  const address = parseIp(text.slice(0, at).replace(/^\[|\]$/g, ''));
  return address && { address, port: Number(text.slice(at + 1)) };
}

function parseService(words: readonly string[]): Pick<VirtualServer, 'scheduler' | 'flags' | 'persistence'> {
  return {
    scheduler: valueOf(words, '-s') ?? '',
    flags: valueOf(words, '-b')?.split(',') ?? [],
    persistence: Number(valueOf(words, '-p') ?? 0),
  };
}

function parseServer(words: readonly string[]): RealServer | undefined {
  const socket = parseSocket(valueOf(words, '-r'));
  const method = METHODS.find((name) => words.includes(METHOD_FLAG[name]));
  return socket && method && { ...socket, method, weight: Number(valueOf(words, '-w') ?? 1) };
}

/** Commands for ipvsadm --restore: those that add and change come first, so that there is somebody to ask at every moment. */
export interface Commands {
  readonly puts: readonly string[];
  readonly removals: readonly string[];
}

/** What turns `have` into `want`. Equal servers give no command. */
export function commands(have: VirtualServers, want: VirtualServers): Commands {
  const puts: string[] = [];
  const removals: string[] = [];
  for (const [key, server] of want) {
    const before = have.get(key);
    const options = serviceOptions(server);
    if (!before) puts.push(`-A ${key} ${options}`);
    else if (serviceOptions(before) !== options) puts.push(`-E ${key} ${options}`);
    for (const [name, real] of server.servers) {
      const known = before?.servers.get(name);
      if (!known) puts.push(`-a ${key} -r ${name} ${serverOptions(real)}`);
      else if (serverOptions(known) !== serverOptions(real)) puts.push(`-e ${key} -r ${name} ${serverOptions(real)}`);
    }
    for (const name of before?.servers.keys() ?? [])
      if (!server.servers.has(name)) removals.push(`-d ${key} -r ${name}`);
  }
  for (const key of have.keys()) if (!want.has(key)) removals.push(`-D ${key}`);
  return { puts, removals };
}

/** What is said of each virtual server and each real server, by how commands name it. */
export function flattened(servers: VirtualServers): Map<string, string> {
  const all = [...servers].flatMap(([key, server]) => [
    [key, serviceOptions(server)] as const,
    ...[...server.servers].map(([name, real]) => [`${key} -r ${name}`, serverOptions(real)] as const),
  ]);
  return new Map(all);
}

function serviceOptions({ scheduler, flags, persistence }: VirtualServer): string {
  const own = flags.length > 0 ? ` -b ${flags.join(',')}` : '';
  return `-s ${scheduler}${own}${persistence > 0 ? ` -p ${persistence}` : ''}`;
}

function serverOptions({ method, weight }: RealServer): string {
  return `${METHOD_FLAG[method]} -w ${weight}`;
}
