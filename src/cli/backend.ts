/** `weir backend list`: one row for each backend of each service port. */
import { formatSocket } from '../core/net.js';
import { defineCommand, type ExitCode } from './command.js';
import { BPF_ROOT, OUTPUT } from './common-flags.js';
import { printJson, printTable } from './output.js';
import { ipvsPorts, readIpvs } from './ipvs-table.js';
import { type BackendRow, byName, type PortBackends, readBackends, readNames } from './service-table.js';
import { formatLabel } from './words.js';

export interface BackendListRow extends BackendRow {
  readonly namespace: string;
  readonly service: string;
  readonly portName: string;
  readonly protocol: string;
}

const HEADER = ['SERVICE', 'PROTOCOL', 'BACKEND', 'NODE', 'STATE', 'WEIGHT', 'LOCAL', 'FLOWS'];

export const backendListCommand = defineCommand({
  path: 'backend list',
  summary: 'list the backends, as the kernel has them',
  flags: { bpfRoot: BPF_ROOT, output: OUTPUT },
  exits: { 0: 'listed', 1: 'nothing is installed, or it cannot be read' },
  run: async ({ bpfRoot, output }, { stdout }): Promise<ExitCode> => {
    const rows = listBackends(bpfRoot);
    if (output === 'json') await printJson(stdout, rows);
    else await printTable(stdout, HEADER, rows.map(cells));
    return 0;
  },
});

function listBackends(root: string): BackendListRow[] {
  const ipvs = readIpvs(root);
  const ports: PortBackends[] = ipvs ? ipvsPorts(ipvs) : [...readBackends(root, readNames(root)).values()];
  ports.sort((a, b) => byName(a.label, b.label) || (a.label.port < b.label.port ? -1 : 1));
  return ports.flatMap(({ label, backends }) =>
    backends.map(({ address, port, protocol, node, state, weight, local, flows }) => ({
      ...{ namespace: label.namespace, service: label.name, portName: label.port },
      ...{ address, port, protocol, node, state, weight, local, flows },
    })),
  );
}

function cells(row: BackendListRow): string[] {
  const { namespace, service, portName, protocol, address, port, node, state, weight, local, flows } = row;
  const backend = formatSocket(address, port);
  return [
    formatLabel({ namespace, name: service, port: portName }),
    protocol,
    backend,
    node || '-',
    state,
    `${weight}`,
    local ? 'yes' : 'no',
    `${flows}`,
  ];
}
