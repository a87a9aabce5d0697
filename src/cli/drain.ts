/** `weir backend drain`: waits until backends that take nothing new hold no flow any more. Changes nothing. */
import { formatSocket, type Ip, parseIp } from '../core/net.js';
import { FLOW_STATE, MAPS } from '../maps/layout.js';
import { openTable } from '../maps/table.js';
import { defineCommand, type ExitCode } from './command.js';
import { BPF_ROOT, OUTPUT } from './common-flags.js';
import { pause, send } from './context.js';
import { flag, usageError } from './flags.js';
import { countFlows, forwardFlows } from './flow-table.js';
import { printJson } from './output.js';
import { duration } from './parse.js';
import { ipvsPorts, readIpvs } from './ipvs-table.js';
import { labelOf, readNames } from './service-table.js';
import { backendStateName } from './words.js';

/** A backend that still holds flows. */
export interface Holder {
  readonly address: Ip;
  readonly port: number;
  readonly portName: string;
  readonly state: string;
  readonly weight: number;
  readonly flows: number;
  /** ADDRESS:PORT of each flow's client. */
  readonly clients: readonly string[];
}

interface Target extends Omit<Holder, 'flows' | 'clients'> {
  readonly id: number;
}

/** ms between two looks at the flow tables. */
const POLL = 500;

export const backendDrainCommand = defineCommand({
  path: 'backend drain',
  summary: 'wait until the backends of a service that take nothing new (or the one at ADDRESS) hold no flow',
  words: ['<NAMESPACE/NAME>', '[ADDRESS]'],
  flags: {
    wait: flag('--wait <DURATION>', 'how long', duration, '60s'),
    bpfRoot: BPF_ROOT,
    output: OUTPUT,
  },
  exits: { 0: 'they hold no flow', 1: 'they still do, and are listed with their clients, or it cannot be told' },
  run: async ({ bpfRoot, wait, output }, context, _given, [service = '', address]): Promise<ExitCode> => {
    const which = parseTarget(service, address);
    const look = readIpvs(bpfRoot) ? () => ipvsHolders(bpfRoot, which) : lookAtFlows(bpfRoot, which);
    const until = context.now() + wait;
    let holders = look();
    while (holders.length > 0 && context.now() < until && !context.signal.aborted) {
      await pause(Math.min(POLL, until - context.now()), context.signal);
      holders = look();
    }
    if (output === 'json') await printJson(context.stdout, holders);
    else await send(context.stdout, holders.map(formatHolder).join('') || 'no flows left\n');
    return holders.length === 0 ? 0 : 1;
  },
});

/** Of which service, and only of this address. */
interface Which {
  readonly service: string;
  readonly only: Ip | undefined;
}

function parseTarget(service: string, address: string | undefined): Which {
  const only = address === undefined ? undefined : parseIp(address);
  if (address !== undefined && only === undefined)
    throw usageError(`backend drain: ${JSON.stringify(address)} is not an address`);
  if (!/^[^/\s]+\/[^/\s]+$/.test(service))
    throw usageError(`backend drain: ${JSON.stringify(service)} is not NAMESPACE/NAME`);
  return { service, only };
}

/** Whether it is one to wait for. */
function isTarget({ only }: Which, backend: { address: Ip; state: string; weight: number }): boolean {
  return only === undefined ? backend.state === 'terminating' || backend.weight === 0 : backend.address === only;
}

function ipvsHolders(root: string, which: Which): Holder[] {
  const ipvs = readIpvs(root);
  const ports = ipvs ? ipvsPorts(ipvs) : [];
  return ports
    .filter(({ label }) => `${label.namespace}/${label.name}` === which.service)
    .flatMap(({ label, backends }) =>
      backends
        .filter((backend) => isTarget(which, backend) && backend.flows > 0)
        .map(({ address, port, state, weight, flows, clients }) => {
          return { address, port, portName: label.port, state, weight, flows, clients };
        }),
    );
}

/** The clients are looked for only where there are any. */
function lookAtFlows(root: string, which: Which): () => Holder[] {
  const targets = findTargets(root, which);
  return () => withClients(root, holding(root, targets));
}

/** The backends to wait for. One that has gone already holds nothing. */
function findTargets(root: string, which: Which): Target[] {
  const names = readNames(root);
  using table = openTable(root, MAPS.weir_backends);
  return [...table.entries()].flatMap(([id, backend]): Target[] => {
    const label = labelOf(names, backend.service);
    if (`${label.namespace}/${label.name}` !== which.service) return [];
    const { address, port, weight } = backend;
    const state = backendStateName(backend.state);
    return isTarget(which, { address, state, weight })
      ? [{ id, address, port, portName: label.port, state, weight }]
      : [];
  });
}

function holding(root: string, targets: readonly Target[]): Target[] {
  const flows = countFlows(root);
  return targets.filter(({ id }) => (flows.get(id) ?? 0) > 0);
}

function withClients(root: string, targets: readonly Target[]): Holder[] {
  if (targets.length === 0) return [];
  const clients = new Map(targets.map(({ id }): [number, string[]] => [id, []]));
  for (const { client, flow } of forwardFlows(root))
    if (flow.state < FLOW_STATE.CLOSING) clients.get(flow.backend)?.push(client);
  return targets.map(({ id, ...target }) => {
    const held = clients.get(id) ?? [];
    return { ...target, flows: held.length, clients: held };
  });
}

function formatHolder({ address, port, state, weight, flows, clients }: Holder): string {
  const lines = clients.map((client) => `  ${client}\n`).join('');
  return `${formatSocket(address, port)} ${state} weight ${weight} flows ${flows}\n${lines}`;
}
