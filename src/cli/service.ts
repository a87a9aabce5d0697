/** `weir service list`: what is served, and who serves it. */
import { defineCommand, type ExitCode } from './command.js';
import { BPF_ROOT, OUTPUT } from './common-flags.js';
import { send } from './context.js';
import { ipvsServices, readIpvs } from './ipvs-table.js';
import { printJson } from './output.js';
import { formatServices, readServices } from './service-table.js';

export const serviceListCommand = defineCommand({
  path: 'service list',
  summary: 'list the services with their frontends and backends, as the kernel has them',
  flags: { bpfRoot: BPF_ROOT, output: OUTPUT },
  exits: { 0: 'listed', 1: 'nothing is installed, or it cannot be read' },
  run: async ({ bpfRoot, output }, { stdout }): Promise<ExitCode> => {
    const ipvs = readIpvs(bpfRoot);
    const services = ipvs ? ipvsServices(ipvs) : readServices(bpfRoot);
    if (output === 'json') await printJson(stdout, services);
    else await send(stdout, formatServices(services));
    return 0;
  },
});
