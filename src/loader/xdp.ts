/** The XDP program on a device: a bpf_link pinned as weir_xdp_<ifindex>, so that it outlives the agent and swaps atomically. */
import { join } from 'node:path';
import { type Device, driverOf } from './devices.js';
import { KernelError } from './errors.js';
import { objectInfo, openPinned, pin, withPinned } from './kernel-map.js';
import { closeFd, type Fd } from './libbpf.js';
import { libbpf } from './native.js';
import { listPins, unpin } from './pins.js';

export const XDP_MODES = ['auto', 'native', 'generic', 'off'] as const;
export type XdpRequest = (typeof XDP_MODES)[number];
export type XdpMode = Exclude<XdpRequest, 'auto'>;

/** What became of a request, and why, as a sentence for the log. */
export interface XdpOutcome {
  readonly mode: XdpMode;
  readonly reason: string;
}

const PREFIX = 'weir_xdp_';
const BPF_XDP = 37;
/** XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE */
const MODE_FLAGS = { native: 4, generic: 2 } as const;
const LINK_OPTIONS_SIZE = 56; // struct bpf_link_create_opts
const QUERY_OPTIONS_SIZE = 32; // struct bpf_xdp_query_opts

/** What to do with a link that could not be made, by errno. */
const CAUSES: Readonly<Record<string, string>> = {
  EBUSY: 'another XDP program is attached',
  EOPNOTSUPP: 'the driver has no native XDP',
  ERANGE: 'its MTU or that of its peer is too large',
};

/**
 * Brings the device to the wanted mode: a link that has it already gets the new program in one step. `auto` is native on
 * hardware that does it and off elsewhere, with the reason; a mode asked for by name that fails throws KernelError.
 */
export function attachXdp(root: string, device: Device, program: Fd, request: XdpRequest): XdpOutcome {
  if (request === 'off') return detached(root, device, 'not wanted');
  if (request !== 'auto') {
    place(root, device, program, request);
    return { mode: request, reason: 'as asked for' };
  }
  const driver = driverOf(device.name);
  if (driver === undefined) {
    return detached(root, device, `${device.name} is a software device, where XDP costs more than it saves`);
  }
  try {
    place(root, device, program, 'native');
    return { mode: 'native', reason: `driver ${driver} has native XDP` };
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return detached(root, device, `driver ${driver}: ${CAUSES[error.errno] ?? error.message}`);
  }
}

/** Removes Weir's program from a device; false where there was none. */
export function detachXdp(root: string, ifindex: number): boolean {
  const path = pinPath(root, ifindex);
  const found = withPinned(path, (link) => {
    // At once, and not when the last descriptor is closed. A vanished device's link answers ENOLINK: nothing to do.
    libbpf.linkDetach.attempt(link);
    return true;
  });
  return unpin(path) || found === true;
}

/** Interface indexes with a pinned link whose device still exists; links of vanished devices are unpinned on the way. */
export function xdpAttachments(root: string): number[] {
  const pinned = listPins(root).filter((name) => name.startsWith(PREFIX));
  const found = pinned.map((name) => Number(name.slice(PREFIX.length)));
  return found.filter((ifindex) => {
    const alive = withPinned(pinPath(root, ifindex), linkDevice) === ifindex;
    if (!alive) unpin(pinPath(root, ifindex));
    return alive;
  });
}

/** Mode in which any program, whoever's, is attached to the device. */
export function queryXdp(ifindex: number): XdpMode {
  const options = Buffer.alloc(QUERY_OPTIONS_SIZE);
  options.writeUInt32LE(QUERY_OPTIONS_SIZE, 0);
  libbpf.xdpQuery.call(`query XDP of device ${ifindex}`, ifindex, 0, options);
  const attached = options.readUInt8(24);
  return attached === 0 ? 'off' : attached === 2 ? 'generic' : 'native';
}

function place(root: string, device: Device, program: Fd, mode: 'native' | 'generic'): void {
  const path = pinPath(root, device.ifindex);
  const link = openPinned(path);
  if (link !== undefined) {
    try {
      if (linkDevice(link) === device.ifindex && queryXdp(device.ifindex) === mode) {
        libbpf.linkUpdate.call(`replace XDP program on ${device.name}`, link, program, null);
        return;
      }
    } finally {
      closeFd(link);
    }
    detachXdp(root, device.ifindex);
  }
  create(path, device, program, mode);
}

function create(path: string, device: Device, program: Fd, mode: 'native' | 'generic'): void {
  const options = Buffer.alloc(LINK_OPTIONS_SIZE);
  options.writeUInt32LE(LINK_OPTIONS_SIZE, 0);
  options.writeUInt32LE(MODE_FLAGS[mode], 8);
  const action = `attach XDP to ${device.name} in ${mode} mode`;
  const link = libbpf.linkCreate.call(action, program, device.ifindex, BPF_XDP, options) as Fd;
  try {
    pin(link, path);
  } finally {
    closeFd(link); // where the pin failed this detaches it again
  }
}

function detached(root: string, device: Device, reason: string): XdpOutcome {
  detachXdp(root, device.ifindex);
  return { mode: 'off', reason };
}

/** The device of an XDP link, 0 once it has vanished. */
function linkDevice(link: Fd): number {
  return objectInfo(link, 32).readUInt32LE(16); // struct bpf_link_info
}

function pinPath(root: string, ifindex: number): string {
  return join(root, `${PREFIX}${ifindex}`);
}
