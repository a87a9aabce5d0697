/** Reads the node's links, addresses, routes and neighbours through iproute2, in the network namespace of this process. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { parseIp } from '../core/net.js';
import {
  type ForwardingEntry,
  type Link,
  type Neighbour,
  type Network,
  parseRoutePrefix,
  type Route,
} from '../core/network.js';
import { WeirError } from '../errors.js';

const run = promisify(execFile);

export async function readNetwork(): Promise<Network> {
  const [links, routes4, routes6, neighbours, forwarding] = await Promise.all([
    ask('ip', '-j', '-d', 'addr', 'show'),
    ask('ip', '-j', '-4', 'route', 'show', 'table', 'main'),
    ask('ip', '-j', '-6', 'route', 'show', 'table', 'main'),
    ask('ip', '-j', 'neigh', 'show'),
    ask('bridge', '-j', 'fdb', 'show'),
  ]);
  return {
    links: links.map(toLink),
    routes: [...routes4.flatMap((entry) => toRoute(entry, 'v4')), ...routes6.flatMap((entry) => toRoute(entry, 'v6'))],
    neighbours: neighbours.flatMap(toNeighbour),
    forwarding: forwarding.flatMap(toForwarding),
  };
}

type Entry = Record<string, unknown>;

/** Throws WEIR_TOOL where the command is missing, fails or prints no JSON. */
async function ask(command: string, ...args: string[]): Promise<Entry[]> {
  try {
    const { stdout } = await run(command, args, { maxBuffer: 1 << 28 });
    return stdout.trim() === '' ? [] : (JSON.parse(stdout) as Entry[]);
  } catch (error) {
    const failed = error as { stderr?: string; message?: string };
    const reason = (failed.stderr ?? '').trim() || failed.message;
    throw new WeirError('WEIR_TOOL', `run ${command} ${args.join(' ')}: ${reason}`, { cause: error });
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function toLink(entry: Entry): Link {
  const info = (entry['linkinfo'] ?? {}) as Entry;
  const addresses = (entry['addr_info'] ?? []) as Entry[];
  return {
    ifindex: Number(entry['ifindex']),
    name: text(entry['ifname']),
    mtu: Number(entry['mtu']),
    mac: entry['link_type'] === 'ether' ? text(entry['address']) : undefined,
    kind: text(info['info_kind']),
    master: text(entry['master']),
    up: ((entry['flags'] ?? []) as string[]).includes('UP'),
    addresses: addresses.flatMap((address) => {
      const ip = parseIp(text(address['local']));
      const stable = !address['tentative'] && !address['deprecated'] && !address['temporary'];
      return ip ? [{ ip, scope: text(address['scope']), stable }] : [];
    }),
  };
}

function toRoute(entry: Entry, family: 'v4' | 'v6'): Route[] {
  const destination = parseRoutePrefix(text(entry['dst']), family);
  if (!destination) return [];
  const hops = (entry['nexthops'] ?? [entry]) as Entry[];
  return hops.flatMap((hop) => {
    const direct = hop['gateway'] === undefined && hop['via'] === undefined;
    return text(hop['dev']) ? [{ destination, device: text(hop['dev']), direct }] : [];
  });
}

function toNeighbour(entry: Entry): Neighbour[] {
  const ip = parseIp(text(entry['dst']));
  return ip && text(entry['lladdr']) ? [{ ip, mac: text(entry['lladdr']), device: text(entry['dev']) }] : [];
}

function toForwarding(entry: Entry): ForwardingEntry[] {
  return entry['mac'] && entry['master'] ? [{ mac: text(entry['mac']), device: text(entry['ifname']) }] : [];
}
