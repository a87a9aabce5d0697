/** `weir policy check`: whether one pod may reach another, and which rules say so. */
import { candidates } from '../core/endpoints.js';
import { familyOf } from '../core/net.js';
import { type Cluster, type Party, type Target } from '../core/policy/evaluate.js';
import { addressParty, pairs } from '../core/policy/parties.js';
import type { Store } from '../core/store.js';
import { WeirError } from '../errors.js';
import { defineCommand, type ExitCode } from './command.js';
import { OUTPUT } from './common-flags.js';
import { send } from './context.js';
import { optional, usageError } from './flags.js';
import { printJson } from './output.js';
import * as input from './policy-input.js';
import { formatPath, type PathReport, reportPath } from './policy-verdict.js';

export const policyCheckCommand = defineCommand({
  path: 'policy check',
  summary: 'tell whether the policies of a folder allow a connection, and which rules decide; needs no cluster',
  flags: {
    manifests: input.MANIFESTS,
    from: optional('--from <POD>', 'NAMESPACE/POD or an address', input.party),
    to: optional('--to <POD>', 'NAMESPACE/POD, NAMESPACE/SERVICE or an address', input.party),
    port: optional('--port <PORT>', '80/tcp, 53/udp, 132/sctp; without a protocol: tcp', input.target),
    denyAction: input.DENY_ACTION,
    output: OUTPUT,
  },
  exits: { 0: 'allowed', 1: 'denied, or it cannot be told' },
  run: async (values, context): Promise<ExitCode> => {
    const [from, to] = [input.required(values.from, '--from'), input.required(values.to, '--to')];
    const port = input.required(values.port, '--port');
    const store = await input.readCluster(input.required(values.manifests, '--manifests'), context);
    const paths = checkPaths(store, input.clusterOf(store, values.denyAction), from, to, port);
    if (values.output === 'json') await printJson(context.stdout, paths);
    else await send(context.stdout, paths.map(formatPath).join(''));
    return paths.every((path) => path.verdict === 'allowed') ? 0 : 1;
  },
});

function checkPaths(store: Store, cluster: Cluster, from: string, to: string, target: Target): PathReport[] {
  const senders = input.findParties(store, cluster, from);
  if (!senders) throw input.unknown('--from', from, 'pod', cluster);
  const receivers = input.findParties(store, cluster, to);
  const ways = receivers
    ? pairs(senders, receivers).map(([one, other]) => ({ one, other, target }))
    : servicePaths(store, cluster, senders, to, target);
  if (ways.length === 0) throw usageError(`--to: ${JSON.stringify(to)} has no address of a family that --from has`);
  return ways.map((way) => reportPath(cluster, way.one, way.other, way.target));
}

/** Policy sees a service's packets as they reach the pod: its address, its port. */
function servicePaths(
  store: Store,
  cluster: Cluster,
  senders: readonly Party[],
  to: string,
  target: Target,
): { one: Party; other: Party; target: Target }[] {
  const found = store.service(to);
  if (!found) throw input.unknown('--to', to, 'pod or service', cluster);
  const { service, slices } = found;
  const port = service.ports.find((each) => each.port === target.port && each.protocol === target.protocol);
  if (!port) {
    const known = service.ports.map((each) => `${each.port}/${each.protocol.toLowerCase()}`).join(', ');
    throw usageError(`--port: Service ${to} has no such port, only ${known}`);
  }
  const families = new Set(senders.map(({ ip }) => (ip ? familyOf(ip) : undefined)));
  const backends = (['v4', 'v6'] as const)
    .filter((family) => families.has(family) || families.has(undefined))
    .flatMap((family) => candidates(slices, port, family));
  if (backends.length === 0)
    throw new WeirError('WEIR_MANIFEST', `Service ${to} has no endpoints for this port in these manifests`);
  return backends.flatMap(({ address, port: number }) =>
    pairs(senders, [addressParty(cluster, store.nodes, address)]).map(([one, other]) => ({
      ...{ one, other },
      target: { protocol: target.protocol, port: number },
    })),
  );
}
