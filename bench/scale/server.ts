/** An API server stand-in in a process of its own, told over IPC what to change. It replies with the moment of each change. */
import { MisbehavingApi, NODES, SERVICES, SLICES } from '../../test/helpers/misbehaving-api.js';
import { clusterOf, ENDPOINTS, nodeObject, serviceObject, sliceObject } from './cluster.js';

/** A slice gets so many endpoints; or every one of the first slices is told once more as it is. */
export type ServerCommand = { readonly slice: number; readonly count: number } | { readonly repeat: number };
export interface ServerAnswer {
  /** Of the plain HTTP server, in the first answer. */
  readonly port?: number;
  /** ms of the monotonic clock, which all processes share. */
  readonly at: number;
}

const cluster = clusterOf(Number(process.argv[2]));
const api = await MisbehavingApi.start();
for (let index = 0; index < cluster.nodes; index++) api.set(NODES, nodeObject(index));
for (let index = 0; index < cluster.services; index++) {
  api.set(SERVICES, serviceObject(index));
  api.set(SLICES, sliceObject(index, ENDPOINTS, cluster));
}
process.on('message', (command: ServerCommand) => {
  const at = monotonic();
  if ('slice' in command) api.set(SLICES, sliceObject(command.slice, command.count, cluster));
  else for (let i = 0; i < command.repeat; i++) api.set(SLICES, sliceObject(i, ENDPOINTS, cluster));
  answer({ at });
});
process.on('disconnect', () => process.exit());
answer({ at: monotonic(), port: api.port });

function answer(message: ServerAnswer): void {
  process.send?.(message);
}

function monotonic(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
