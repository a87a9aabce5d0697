/** `weir endpoint list`: the pods of this node, what isolates each, and what its policies allow it. */
import type { Network } from '../core/network.js';
import { readNetwork } from '../host/network.js';
import { defineCommand, type ExitCode } from './command.js';
import { BPF_ROOT, OUTPUT } from './common-flags.js';
import { send } from './context.js';
import { type NftPods, readIpvsPods } from './ipvs-policy.js';
import { type IsolatedPod, type IsolationRow, SLOTS } from './isolation.js';
import { printJson } from './output.js';
import { type MappedPod, readPods } from './policy-tables.js';
import { compareIp } from './words.js';

export interface EndpointRow extends IsolatedPod {
  /** Behind which it lives; `#index` where this network namespace has no such device, '' where none is known yet. */
  readonly device: string;
}

const TITLES = { ingress: 'ingress', egress: 'egress', auditIngress: 'audited ingress', auditEgress: 'audited egress' };

export const endpointListCommand = defineCommand({
  path: 'endpoint list',
  summary: 'list the pods of this node with the policies that isolate them and what those allow',
  flags: { bpfRoot: BPF_ROOT, output: OUTPUT },
  exits: { 0: 'listed', 1: 'nothing is installed, or it cannot be read' },
  run: async ({ bpfRoot, output }, { stdout }): Promise<ExitCode> => {
    const rows = await listEndpoints(bpfRoot);
    if (output === 'json') await printJson(stdout, rows);
    else await send(stdout, rows.length === 0 ? 'no pods\n' : rows.map(formatEndpoint).join(''));
    return 0;
  },
});

async function listEndpoints(root: string): Promise<EndpointRow[]> {
  const network = await readNetwork();
  const ipvs = readIpvsPods(root);
  const rows = ipvs ? nftRows(ipvs, network) : mappedRows(readPods(root), network);
  rows.sort((a, b) => compareIp(a.address, b.address));
  return rows.sort((a, b) => (a.pod < b.pod ? -1 : a.pod > b.pod ? 1 : 0));
}

function mappedRows(pods: readonly MappedPod[], { links }: Network): EndpointRow[] {
  const names = new Map(links.map(({ ifindex, name }) => [ifindex, name]));
  return pods.map(({ ifindex, pod, address, ...rest }) => {
    const device = ifindex === 0 ? '' : (names.get(ifindex) ?? `#${ifindex}`);
    return { pod, address, device, ...rest };
  });
}

function nftRows({ pods, devices }: NftPods, network: Network): EndpointRow[] {
  const found = devices(network);
  return pods.map(({ pod, address, ...rest }) => ({ pod, address, device: found.get(address) ?? '', ...rest }));
}

function formatEndpoint(row: EndpointRow): string {
  const lines = [`${row.pod} ${row.address} ${row.device || '-'}`];
  for (const slot of SLOTS) {
    const isolation = row[slot];
    if (isolation) lines.push(...formatIsolation(TITLES[slot], isolation));
    else if (slot === 'ingress' || slot === 'egress') lines.push(`  ${slot}: not isolated`);
  }
  return `${lines.join('\n')}\n`;
}

function formatIsolation(title: string, { policies, action, rules }: IsolationRow): string[] {
  const allowed = rules.map(
    ({ rule, anyone, ports }) => `    ${rule} allows ${ports} ${anyone ? 'for everybody' : 'for its peers'}`,
  );
  return [
    `  ${title}: isolated by ${policies.join()} (${action})`,
    ...(allowed.length > 0 ? allowed : ['    nothing is allowed']),
  ];
}
