/** Programs at the clsact hooks of devices: filter with handle 1 and priority 1, replaced in one step. */
import { WeirError } from '../errors.js';
import { type Device, listDevices } from './devices.js';
import { KernelError } from './errors.js';
import { dumpFilters, type TcFilter } from './filters.js';
import { type Fd } from './libbpf.js';
import { libbpf } from './native.js';
import { PIN_PREFIX } from './pins.js';

export const DIRECTIONS = ['ingress', 'egress'] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** A program of Weir's at a hook. */
export interface TcAttachment {
  readonly device: Device;
  readonly direction: Direction;
  readonly program: string;
  readonly programId: number;
}

const HANDLE = 1;
const PRIORITY = 1;
const POINT = { ingress: 1, egress: 2 } as const;
const PARENT = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const;
const REPLACE = 1;
const EEXIST = -17;
const ENOENT = -2;
const EINVAL = -22;
const HOOK_SIZE = 24; // struct bpf_tc_hook
const OPTIONS_SIZE = 32; // struct bpf_tc_opts

/**
 * Puts the program at the hook; one of Weir's that is there is replaced without a gap. Creates the clsact qdisc where it is
 * missing. Throws WEIR_DEVICE where somebody else's filter has the place.
 */
export function attachTc(device: Device, direction: Direction, program: Fd): void {
  const foreign = dumpFilters(device.ifindex, PARENT[direction]).find(
    (filter) => inOurPlace(filter) && !isOurs(filter),
  );
  if (foreign) {
    const what = foreign.program === '' ? `a ${foreign.kind} filter` : `the ${foreign.kind} filter ${foreign.program}`;
    const where = `priority ${foreign.priority}, handle ${foreign.handle}`;
    throw new WeirError('WEIR_DEVICE', `attach to ${device.name} ${direction}: ${what} has the place (${where})`, {
      details: { device: device.name, direction, filter: foreign },
    });
  }
  const created = libbpf.tcHookCreate.attempt(hook(device.ifindex, POINT.ingress | POINT.egress));
  if (created < 0 && created !== EEXIST) {
    throw new KernelError(libbpf.tcHookCreate.name, -created, `create clsact on ${device.name}`);
  }
  const action = `attach to ${device.name} ${direction}`;
  libbpf.tcAttach.call(action, hook(device.ifindex, POINT[direction]), options(program, REPLACE));
}

/** Removes Weir's program from the hook, and the clsact qdisc once it is empty. False where there was none. */
export function detachTc(device: Device, direction: Direction): boolean {
  const ours = dumpFilters(device.ifindex, PARENT[direction]).some((filter) => inOurPlace(filter) && isOurs(filter));
  if (!ours) return false;
  const result = libbpf.tcDetach.attempt(hook(device.ifindex, POINT[direction]), options(0, 0));
  if (result < 0 && result !== ENOENT && result !== EINVAL) {
    throw new KernelError(libbpf.tcDetach.name, -result, `detach from ${device.name} ${direction}`);
  }
  const left = DIRECTIONS.some((side) => dumpFilters(device.ifindex, PARENT[side]).length > 0);
  if (!left) libbpf.tcHookDestroy.attempt(hook(device.ifindex, POINT.ingress | POINT.egress));
  return true;
}

/** What of Weir's is at the hooks of one device. */
export function tcAttachmentsOf(device: Device): TcAttachment[] {
  return DIRECTIONS.flatMap((direction) =>
    dumpFilters(device.ifindex, PARENT[direction])
      .filter((filter) => inOurPlace(filter) && isOurs(filter))
      .map(({ program, programId }) => ({ device, direction, program: program.replace(/:\[\d+\]$/, ''), programId })),
  );
}

/** What of Weir's is at the hooks of all devices of this network namespace. */
export function ownedAttachments(): TcAttachment[] {
  return listDevices().flatMap(tcAttachmentsOf);
}

function inOurPlace(filter: TcFilter): boolean {
  return filter.priority === PRIORITY && (filter.kind !== 'bpf' || filter.handle === HANDLE);
}

function isOurs(filter: TcFilter): boolean {
  return filter.kind === 'bpf' && filter.program.startsWith(PIN_PREFIX);
}

function hook(ifindex: number, point: number): Buffer {
  const buffer = Buffer.alloc(HOOK_SIZE);
  buffer.writeUInt32LE(HOOK_SIZE, 0);
  buffer.writeInt32LE(ifindex, 8);
  buffer.writeUInt32LE(point, 12);
  return buffer;
}

function options(program: number, flags: number): Buffer {
  const buffer = Buffer.alloc(OPTIONS_SIZE);
  buffer.writeUInt32LE(OPTIONS_SIZE, 0);
  buffer.writeInt32LE(program, 8);
  buffer.writeUInt32LE(flags, 12);
  buffer.writeUInt32LE(HANDLE, 20);
  buffer.writeUInt32LE(PRIORITY, 24);
  return buffer;
}
