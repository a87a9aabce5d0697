/** `weir diff` for the IPVS dataplane: virtual servers, the table `weir` and the addresses of weir-ipvs0. */
import type { Problem } from '../core/model.js';
import { type Row, rowKey } from '../core/plan.js';
import { type Roles, SERVICE_DEVICE } from '../core/network.js';
import { chooseDevices, clusterRanges, tunnelSources } from '../core/settings.js';
import { readNetwork } from '../host/network.js';
import type { ChainDigests } from '../ipvs/chains.js';
import { withDraining } from '../ipvs/drain.js';
import { flattened } from '../ipvs/ipvsadm-text.js';
import { adoptedMarks, ownServers, readKernel, takenAddresses } from '../ipvs/kernel.js';
import { readChains } from '../ipvs/nft.js';
import { placeService } from '../ipvs/placement.js';
import { BRIDGE_TABLE } from '../ipvs/policy-bridge.js';
import { readPolicyTable } from '../ipvs/policy-kernel.js';
import type { Members } from '../ipvs/policy-program.js';
import { isProgramChain, PolicyCompilation, type PolicyTarget } from '../ipvs/policy-rows.js';
import { TABLE as POLICY_TABLE } from '../ipvs/policy-table.js';
import { TABLE } from '../ipvs/ruleset.js';
import { chainsIn, claimedAddresses, type IpvsState, readState, stateDirectory } from '../ipvs/state-file.js';
import { lostRows, serviceAddresses, viewOf, wanted } from '../ipvs/wanted.js';
import type { StateOptions } from './agent-flags.js';
import type { Context } from './context.js';
import { desiredState, readObjects } from './desired-state.js';
import type { Difference } from './difference.js';
import { openSource } from './source.js';

export async function ipvsDifferences(options: StateOptions, context: Context): Promise<Difference[]> {
  const report = ({ object, field, message }: Problem): void =>
    void context.stderr.write(`weir: warning: ${object}: ${field}: ${message}\n`);
  const store = await readObjects(openSource(options), report, context.signal);
  const network = await readNetwork();
  const state = desiredState(store, options, network, new Set());
  state.problems.forEach(report);
  const kernel = readKernel(options.runServiceProxy);
  const marks = adoptedMarks(kernel);
  const nodes = Object.fromEntries([...store.nodes.values()].map(({ name, internalIps }) => [name, internalIps]));
  const roles = chooseDevices(network, options);
  const known = readState(stateDirectory(options.bpfRoot));
  const claimed = claimedAddresses(known);
  const view = viewOf(network, roles.uplinks, nodes, takenAddresses(kernel, claimed));
  const placed = state.services.map((service) => placeService(service, view, marks));
  const sources = tunnelSources(store.nodes, options.dsrSources);
  const cluster = clusterRanges(store.nodes, options.clusterCidr);
  const want = wanted(placed, roles, { sources, cluster }, []);
  const deadlines = new Map(Object.entries(known?.deadlines ?? {}));
  const have = ownServers(kernel, claimed);
  /* what is kept for its connections is no difference, however long ago its service let go of it */
  const { servers } = withDraining(have, want.servers, marks, deadlines, 0, Number.MAX_SAFE_INTEGER);
  for (const row of lostRows(want.servers, servers)) want.rows.set(rowKey(row), row);
  const policy = options.runFirewall ? policyDifferences(state.policy, roles, known) : [];
  if (!options.runServiceProxy && kernel.version === '') return policy;
  return [
    ...policy,
    ...between('ipvs', flattened(have), flattened(servers)),
    ...between('nft', texts(kernel.rows), texts(want.rows)),
    ...between('nft', named(kernel.chains), named(chainsIn(known, TABLE))),
    ...between(SERVICE_DEVICE, presence(kernel.addresses), presence(serviceAddresses(want.rows))),
  ];
}

/** What the chain of a policy holds is in its name; that another hand has not been at it, in what the agent has left. */
function policyDifferences(target: PolicyTarget, roles: Roles, known: IpvsState | undefined): Difference[] {
  const have = readPolicyTable();
  const { chains, rows, members } = new PolicyCompilation().rows(target, roles);
  const made = chainsIn(known, POLICY_TABLE);
  const fixed = [...made].filter(([name]) => !isProgramChain(name));
  const programs = [...chains.keys()].map((name) => [name, made.get(name) ?? 'to be made'] as const);
  return [
    ...between(
      'nft weir-policy',
      new Map([...named(have.chains), ...texts(have.rows), ...peers(have.members)]),
      new Map([...named(new Map([...fixed, ...programs])), ...texts(rows), ...peers(members)]),
    ),
    ...between('nft bridge weir-policy', named(readChains(BRIDGE_TABLE)), named(chainsIn(known, BRIDGE_TABLE))),
  ];
}

function named(chains: ChainDigests): Map<string, string> {
  return new Map([...chains].map(([name, text]) => [`chain ${name}`, text]));
}

function peers(members: Members): [string, string][] {
  return [...members].flatMap(([table, list]) =>
    [...list].map((member): [string, string] => [`${table} ${member}`, 'present']),
  );
}

/** Elements by set and key. */
function texts(rows: ReadonlyMap<string, Row>): Map<string, string> {
  return new Map([...rows.values()].map(({ table, key, value }) => [`${table} ${key}`, value || 'present']));
}

function presence(keys: Iterable<string>): Map<string, string> {
  return new Map([...keys].map((key) => [key, 'present']));
}

function between(table: string, have: ReadonlyMap<string, string>, want: ReadonlyMap<string, string>): Difference[] {
  const side = (text: string | undefined): Difference['want'] => (text === undefined ? null : { value: text });
  return [...new Set([...have.keys(), ...want.keys()])]
    .filter((key) => have.get(key) !== want.get(key))
    .map((key) => ({ table, key, want: side(want.get(key)), have: side(have.get(key)) }));
}
