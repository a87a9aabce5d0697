/** `weir policy list`: the policies in force on this node. */
import { DIRECTIONS, type Direction } from '../core/policy/state.js';
import { defineCommand, type ExitCode } from './command.js';
import { BPF_ROOT, OUTPUT } from './common-flags.js';
import { readIpvsPods } from './ipvs-policy.js';
import type { IsolatedPod, Slot } from './isolation.js';
import { printJson, printTable } from './output.js';
import { readPods } from './policy-tables.js';
import { byName } from './service-table.js';

export interface PolicyRow {
  readonly namespace: string;
  readonly name: string;
  readonly mode: 'enforce' | 'audit';
  /** In which it isolates pods of this node. */
  readonly directions: readonly Direction[];
  /** Those pods, as `ns/name`. */
  readonly pods: readonly string[];
}

const HEADER = ['POLICY', 'MODE', 'DIRECTIONS', 'PODS'];

export const policyListCommand = defineCommand({
  path: 'policy list',
  summary: 'list the policies in force on this node and the pods that each isolates',
  flags: { bpfRoot: BPF_ROOT, output: OUTPUT },
  exits: { 0: 'listed', 1: 'nothing is installed, or it cannot be read' },
  run: async ({ bpfRoot, output }, { stdout }): Promise<ExitCode> => {
    const rows = listPolicies(readIpvsPods(bpfRoot)?.pods ?? readPods(bpfRoot));
    if (output === 'json') await printJson(stdout, rows);
    else await printTable(stdout, HEADER, rows.map(cells));
    return 0;
  },
});

/** Where a policy is found: audited ones are in the sets that include them alone. */
const PLACES = [
  { slot: 'ingress', direction: 'ingress', enforced: true },
  { slot: 'egress', direction: 'egress', enforced: true },
  { slot: 'auditIngress', direction: 'ingress', enforced: false },
  { slot: 'auditEgress', direction: 'egress', enforced: false },
] as const satisfies readonly { slot: Slot; direction: Direction; enforced: boolean }[];

function listPolicies(pods: readonly IsolatedPod[]): PolicyRow[] {
  const found = new Map<string, { enforced: boolean; directions: Set<Direction>; pods: Set<string> }>();
  for (const pod of pods) {
    for (const { slot, direction, enforced } of PLACES) {
      for (const key of pod[slot]?.policies ?? []) {
        const row = found.get(key) ?? { enforced: false, directions: new Set(), pods: new Set() };
        found.set(key, { ...row, enforced: row.enforced || enforced });
        row.directions.add(direction);
        row.pods.add(pod.pod);
      }
    }
  }
  const rows = [...found].map(([key, { enforced, directions, pods }]): PolicyRow => {
    const [namespace = '', name = ''] = key.split('/');
    const order = DIRECTIONS.filter((direction) => directions.has(direction));
    return { namespace, name, mode: enforced ? 'enforce' : 'audit', directions: order, pods: [...pods].sort() };
  });
  return rows.sort(byName);
}

function cells({ namespace, name, mode, directions, pods }: PolicyRow): string[] {
  return [`${namespace}/${name}`, mode, directions.join(), pods.join()];
}
