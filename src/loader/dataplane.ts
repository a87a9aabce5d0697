/** The BPF dataplane as the agent sees it: checked, loaded, pinned; its programs go onto devices and survive the agent. */
import { release } from 'node:os';
import { join } from 'node:path';
import { WeirError } from '../errors.js';
import { missingCapabilities } from './capabilities.js';
import { attachSockets, SOCKET_HOOKS, type SocketProgram } from './cgroup.js';
import { ticksPerSecond } from './clock.js';
import type { Device } from './devices.js';
import { mapInfo, type MapShape, withPinned } from './kernel-map.js';
import type { Fd } from './libbpf.js';
import { BpfObject, type ObjectMap, XDP_HAS_FRAGS } from './object.js';
import { ensureRoot } from './pins.js';
import { testRunAsync } from './program.js';
import { attachTc, type Direction, DIRECTIONS, tcAttachmentsOf } from './tc.js';
import { attachXdp, queryXdp, xdpAttachments, type XdpOutcome, type XdpRequest } from './xdp.js';

export const XDP_PROGRAM = 'weir_xdp';
export const SWEEP_PROGRAM = 'weir_sweep';
export const TC_PROGRAMS = ['weir_up_in', 'weir_up_out', 'weir_pod_in', 'weir_pod_out'] as const;
export type TcProgram = (typeof TC_PROGRAMS)[number];

const SOCKET_PROGRAMS: readonly SocketProgram[] = Object.values(SOCKET_HOOKS).map(({ program }) => program);

/** The oldest kernel with everything the programs call. */
const OLDEST_KERNEL = [6, 1] as const;

export interface DataplaneOptions {
  /** The linked object, bpf/build/weir.bpf.o. */
  readonly objectPath: string;
  /** Directory of the pins; created if its bpf file system is mounted. */
  readonly bpfRoot: string;
  /** Sizes of the flow tables, where they are made anew; default: as the object says. */
  readonly flowEntries?: { readonly v4: number; readonly v6: number };
  /** How the XDP program is loaded: `frags` for devices with an MTU above 3,500 bytes. Default: plain. */
  readonly xdp?: 'plain' | 'frags' | 'none';
  /** Whether the programs for sockets are loaded. Default: they are not. */
  readonly sockets?: boolean;
}

/** What one sweep of the flow tables did, in entries, and when. */
export interface SweepResult {
  /** The moment in kernel ticks, and in ns of CLOCK_MONOTONIC. */
  readonly ticks: bigint;
  readonly time: bigint;
  readonly kept: number;
  readonly removed: number;
  /** A flow table is so full that the kernel may soon evict live flows, or does. */
  readonly crowded: boolean;
}

/** Room for struct sweep of bpf/sweep.h, which the program fills: now, time, kept, removed, kept4, kept6 (__u64 each); larger is allowed. */
const SWEEP_CONTEXT_SIZE = 64;
/** Share of a flow table above which it is crowded: free entries wait in portions at every core. */
const CROWDED = 0.75;

/**
 * Loads the object. Maps that are pinned below the root are taken over with what they hold, the others are made and pinned.
 * Throws WEIR_BPFFS, WEIR_CAPABILITY, WEIR_KERNEL_TOO_OLD, WEIR_OBJECT, WEIR_LAYOUT (a pinned map that differs: nothing was
 * changed), VerifierError, KernelError. Maps made by a load that fails are unpinned again.
 */
export function openDataplane(options: DataplaneOptions): Dataplane {
  checkKernel();
  const missing = missingCapabilities();
  if (missing.length > 0) {
    throw new WeirError('WEIR_CAPABILITY', `load the BPF programs: missing ${missing.join(', ')}`, {
      details: { missing },
    });
  }
  ensureRoot(options.bpfRoot);
  const object = new BpfObject(options.objectPath);
  try {
    const maps = [...object.maps().values()].filter((map) => !map.name.includes('.'));
    sizeFlows(object, options);
    setTick(object);
    for (const map of maps) usePin(map, join(options.bpfRoot, map.name));
    prepareXdp(object, options.xdp ?? 'plain');
    if (!options.sockets) for (const name of SOCKET_PROGRAMS) object.programs().get(name)?.skip();
    object.load();
    xdpAttachments(options.bpfRoot); // unpins the links of devices that vanished while no agent ran
    return new Dataplane(object, options.bpfRoot);
  } catch (error) {
    object[Symbol.dispose]();
    throw error;
  }
}

/** Owns the loaded programs. Disposing of it closes them; what is attached or pinned stays in force. */
export class Dataplane implements Disposable {
  readonly root: string;
  private readonly object: BpfObject;
  private readonly programs: ReadonlyMap<string, Fd>;

  constructor(object: BpfObject, root: string) {
    this.object = object;
    this.root = root;
    const loaded = [XDP_PROGRAM, SWEEP_PROGRAM, ...TC_PROGRAMS, ...SOCKET_PROGRAMS].flatMap((name): [string, Fd][] => {
      const fd = object.programs().get(name)?.tryFd();
      return fd === undefined ? [] : [[name, fd]];
    });
    this.programs = new Map(loaded);
  }

  /** Descriptor of a program, for running it on a packet. It closes with the dataplane. */
  program(name: TcProgram | SocketProgram | typeof XDP_PROGRAM | typeof SWEEP_PROGRAM): Fd {
    const fd = this.programs.get(name);
    if (fd === undefined) throw new WeirError('WEIR_OBJECT', `use program ${name}: it is not loaded`);
    return fd;
  }

  /** See attachXdp in xdp.ts. */
  attachXdp(device: Device, request: XdpRequest): XdpOutcome {
    return attachXdp(this.root, device, this.program(XDP_PROGRAM), request);
  }

  /** See attachTc in tc.ts. */
  attachTc(device: Device, direction: Direction, program: TcProgram): void {
    attachTc(device, direction, this.program(program));
  }

  /** Whether the device has our TC programs at both hooks and, where asked for, an XDP program. */
  isAttached(device: Device, xdp: boolean): boolean {
    return tcAttachmentsOf(device).length === DIRECTIONS.length && (!xdp || queryXdp(device.ifindex) !== 'off');
  }

  /** See attachSockets in cgroup.ts. */
  attachSockets(cgroup: string): void {
    attachSockets(this.root, cgroup, (name) => this.program(name));
  }

  /** Runs the sweep of the flow tables once, on another thread. */
  async sweep(): Promise<SweepResult> {
    const context = Buffer.alloc(SWEEP_CONTEXT_SIZE);
    await testRunAsync(this.program(SWEEP_PROGRAM), { context });
    return {
      ticks: context.readBigUInt64LE(0),
      time: context.readBigUInt64LE(8),
      kept: Number(context.readBigUInt64LE(16)),
      removed: Number(context.readBigUInt64LE(24)),
      crowded:
        this.#fills('weir_flows4', context.readBigUInt64LE(32)) ||
        this.#fills('weir_flows6', context.readBigUInt64LE(40)),
    };
  }

  #fills(map: string, entries: bigint): boolean {
    return Number(entries) > (this.object.maps().get(map)?.shape().maxEntries ?? Infinity) * CROWDED;
  }

  [Symbol.dispose](): void {
    this.object[Symbol.dispose]();
  }
}

/** Throws WEIR_KERNEL_TOO_OLD. */
export function checkKernel(version: string = release()): void {
  const [major = 0, minor = 0] = version.split('.').map((part) => parseInt(part, 10));
  const [oldestMajor, oldestMinor] = OLDEST_KERNEL;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return;
  throw new WeirError(
    'WEIR_KERNEL_TOO_OLD',
    `start on Linux ${version}: Weir needs ${OLDEST_KERNEL.join('.')} or newer`,
  );
}

/** Settings that the programs have as constants: settings.h. */
function setTick(object: BpfObject): void {
  const constants = [...object.maps().values()].find((map) => map.name.endsWith('.rodata'));
  if (constants?.shape().valueSize !== TICK_SIZE) return; // an object of a test
  const tick = Buffer.alloc(TICK_SIZE);
  tick.writeUInt32LE(ticksPerSecond());
  constants.setInitialValue(tick);
}
const TICK_SIZE = 4;

function sizeFlows(object: BpfObject, { flowEntries }: DataplaneOptions): void {
  if (!flowEntries) return;
  for (const table of ['weir_flows', 'weir_admitted']) {
    object.maps().get(`${table}4`)?.setMaxEntries(flowEntries.v4);
    object.maps().get(`${table}6`)?.setMaxEntries(flowEntries.v6);
  }
}

function prepareXdp(object: BpfObject, mode: 'plain' | 'frags' | 'none'): void {
  const program = object.programs().get(XDP_PROGRAM);
  if (mode === 'none') program?.skip();
  if (mode === 'frags') program?.addFlags(XDP_HAS_FRAGS);
}

/** libbpf would only answer EINVAL for a pinned map of another shape: compare here, and say what differs. */
function usePin(map: ObjectMap, path: string): void {
  const pinned = withPinned(path, mapInfo);
  if (pinned) refuseDifferent(map.name, pinned, map.shape());
  map.setPinPath(path);
}

function refuseDifferent(name: string, pinned: MapShape, wanted: MapShape): void {
  for (const field of ['type', 'keySize', 'valueSize', 'maxEntries', 'flags'] as const) {
    if (pinned[field] === wanted[field]) continue;
    throw new WeirError(
      'WEIR_LAYOUT',
      `reuse map ${name}: ${field} is ${pinned[field]} where it is pinned and ${wanted[field]} in this version`,
      { details: { map: name, field, pinned: pinned[field], wanted: wanted[field] } },
    );
  }
}
