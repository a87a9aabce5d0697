/** `weir endpoint list`: the pods of this node, what isolates each, and what its policies allow it. */
import { readNetwork } from '../host/network.js';
import { defineCommand, type ExitCode } from './command.js';
import { BPF_ROOT, OUTPUT } from './common-flags.js';
import { send } from './context.js';
import { printJson } from './output.js';
import { type IsolationRow, podName, PolicyReader, readPods } from './policy-tables.js';
import { compareIp } from './words.js';

export interface EndpointRow {
  /** `ns/name` */
  readonly pod: string;
  readonly address: string;
  /** Behind which it lives; `#index` where this network namespace has no such device, '' where none is known yet. */
  readonly device: string;
  /** What is enforced; null: not isolated. */
  readonly ingress: IsolationRow | null;
  readonly egress: IsolationRow | null;
  /** What it would be with the audited policies; null: none selects the pod. */
  readonly auditIngress: IsolationRow | null;
  readonly auditEgress: IsolationRow | null;
}

const SLOTS = ['ingress', 'egress', 'auditIngress', 'auditEgress'] as const;
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
  const pods = readPods(root).sort(([a], [b]) => compareIp(a, b));
  using policy = new PolicyReader(root);
  const devices = new Map((await readNetwork()).links.map(({ ifindex, name }) => [ifindex, name]));
  const rules = policy.rules(new Set(pods.flatMap(([, endpoint]) => SLOTS.map((slot) => endpoint[slot]))));
  const rows = pods.map(([address, endpoint]): EndpointRow => {
    const { ifindex, pod } = endpoint;
    const [ingress, egress, auditIngress, auditEgress] = SLOTS.map((slot) =>
      policy.isolation(endpoint[slot], rules.get(endpoint[slot])),
    ) as [IsolationRow | null, IsolationRow | null, IsolationRow | null, IsolationRow | null];
    return {
      ...{ pod: podName(policy.name(pod)), address },
      device: ifindex === 0 ? '' : (devices.get(ifindex) ?? `#${ifindex}`),
      ...{ ingress, egress, auditIngress, auditEgress },
    };
  });
  return rows.sort((a, b) => (a.pod < b.pod ? -1 : a.pod > b.pod ? 1 : 0));
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
