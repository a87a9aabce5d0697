/** `weir policy matrix`: who reaches whom, and what a change of policies opens and closes. */
import { parseIp, type Ip } from '../core/net.js';
import { type Cluster, evaluate, type Party, type Target } from '../core/policy/evaluate.js';
import { pairs } from '../core/policy/parties.js';
import { EVERY_PORT, openPorts, type PortRange, rangesText, turningPoints, without } from '../core/policy/reach.js';
import type { Store } from '../core/store.js';
import { defineCommand, type ExitCode } from './command.js';
import { OUTPUT } from './common-flags.js';
import { type Context, send } from './context.js';
import { flag, optional, type Parser } from './flags.js';
import { printJson } from './output.js';
import { list, path, word } from './parse.js';
import * as input from './policy-input.js';
import { formatChanges, formatMatrix } from './policy-table.js';

/** One way, with the ports that are open on it. */
export interface Reach {
  readonly from: string;
  readonly to: string;
  readonly reaches: 'everything' | 'some' | 'nothing';
  /** Ports that every pair of addresses allows, as text. */
  readonly ports: string;
}

export interface ReachChange {
  readonly from: string;
  readonly to: string;
  readonly change: 'opens' | 'closes';
  readonly ports: string;
}

const address: Parser<Ip> = (text, refuse) => parseIp(text) ?? refuse('is not an address');

export const policyMatrixCommand = defineCommand({
  path: 'policy matrix',
  summary: 'show which pods reach which under the policies of a folder, or what has changed since another folder',
  flags: {
    manifests: input.MANIFESTS,
    against: optional('--against <DIR>', 'folder of the state before: show only what opens and closes', path),
    namespace: optional('--namespace <NS>', 'only ways from or to pods of this namespace', word),
    port: optional('--port <PORT>', 'this port alone, as 80/tcp (default: every port)', input.target),
    addresses: flag('--addresses <IPS>', 'addresses outside that stand beside the pods', list(address), ''),
    denyAction: input.DENY_ACTION,
    output: OUTPUT,
  },
  exits: {
    0: 'shown; with --against: nothing opens or closes',
    1: 'with --against: something does; or it cannot be told',
  },
  run: async (values, context): Promise<ExitCode> => {
    const now = await readSide(input.required(values.manifests, '--manifests'), values, context);
    if (values.against === undefined) {
      const ways = reachability(now, now.names, [now.cluster], values);
      if (values.output === 'json') await printJson(context.stdout, ways.map(reachOf));
      else await send(context.stdout, formatMatrix(ways.map(reachOf)));
      return 0;
    }
    const before = await readSide(values.against, values, context);
    const changes = compare(now, before, values);
    if (values.output === 'json') await printJson(context.stdout, changes);
    else await send(context.stdout, formatChanges(changes));
    return changes.length === 0 ? 0 : 1;
  },
});

interface Choice {
  readonly namespace: string | undefined;
  readonly port: Target | undefined;
  readonly addresses: readonly Ip[];
  readonly denyAction: Cluster['denyAction'];
}

interface SideOfChange {
  readonly store: Store;
  readonly cluster: Cluster;
  readonly names: readonly string[];
}

interface Way {
  readonly from: string;
  readonly to: string;
  readonly open: readonly PortRange[];
  /** What the open ports are measured by. */
  readonly whole: readonly PortRange[];
}

async function readSide(directory: string, choice: Choice, context: Context): Promise<SideOfChange> {
  const store = await input.readCluster(directory, context);
  const cluster = input.clusterOf(store, choice.denyAction);
  const pods = [...cluster.pods].filter(([, pod]) => !pod.finished && !pod.hostNetwork).map(([key]) => key);
  return { store, cluster, names: [...pods.sort(), ...choice.addresses] };
}

function compare(now: SideOfChange, before: SideOfChange, choice: Choice): ReachChange[] {
  const common = now.names.filter((name) => before.names.includes(name));
  const clusters = [now.cluster, before.cluster];
  const former = reachability(before, common, clusters, choice);
  return reachability(now, common, clusters, choice).flatMap(({ from, to, open }, i) => {
    const opened = without(open, former[i]?.open ?? []);
    const closed = without(former[i]?.open ?? [], open);
    return [
      ...(opened.length > 0 ? [{ from, to, change: 'opens' as const, ports: rangesText(opened) }] : []),
      ...(closed.length > 0 ? [{ from, to, change: 'closes' as const, ports: rangesText(closed) }] : []),
    ];
  });
}

/** Every way between two of these, the same order each time. */
function reachability(
  { store, cluster }: SideOfChange,
  names: readonly string[],
  clusters: readonly Cluster[],
  { namespace, port }: Choice,
): Way[] {
  const parties = names.map((name) => ({ name, parties: input.findParties(store, cluster, name) ?? [] }));
  const points = turningPoints(clusters);
  const inside = (name: string): boolean => namespace === undefined || name.startsWith(`${namespace}/`);
  const ways: Way[] = [];
  for (const from of parties) {
    for (const to of parties) {
      if (from === to || !(inside(from.name) || inside(to.name))) continue;
      const among = pairs(from.parties, to.parties);
      if (!among.some(([one, other]) => one.pod ?? other.pod)) continue;
      const open = among.map(([one, other]) => openBetween(cluster, one, other, port, points));
      const whole = port ? [{ protocol: port.protocol, first: port.port, last: port.port }] : EVERY_PORT;
      ways.push({ from: from.name, to: to.name, open: common(open), whole });
    }
  }
  return ways;
}

function openBetween(
  cluster: Cluster,
  from: Party,
  to: Party,
  target: Target | undefined,
  points: readonly number[],
): PortRange[] {
  if (!target) return openPorts(cluster, from, to, points);
  const { protocol, port } = target;
  return evaluate(cluster, from, to, target).allowed ? [{ protocol, first: port, last: port }] : [];
}

/** What all of them have. */
function common(lists: readonly (readonly PortRange[])[]): readonly PortRange[] {
  const [first = [], ...others] = lists;
  return others.reduce((rest, other) => without(rest, without(rest, other)), first);
}

function reachOf({ from, to, open, whole }: Way): Reach {
  const reaches = open.length === 0 ? 'nothing' : without(whole, open).length === 0 ? 'everything' : 'some';
  return { from, to, reaches, ports: rangesText(open) };
}
