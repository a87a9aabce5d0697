/** What of Weir's there is on this node, as steps that remove it: programs first, then settings, then the pins. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describeError } from '../errors.js';
import { readSysctl, writeSysctl } from '../host/sysctl.js';
import { detachSocket, SOCKET_HOOKS, socketHooks } from '../loader/cgroup.js';
import { listDevices } from '../loader/devices.js';
import { listPins, removePins, unpin } from '../loader/pins.js';
import { detachTc, ownedAttachments } from '../loader/tc.js';
import { detachXdp } from '../loader/xdp.js';
import { MAPS } from '../maps/layout.js';
import { openTable } from '../maps/table.js';

/** Something to be done, and how to say it. */
export interface Step {
  readonly verb: 'remove' | 'restore';
  readonly what: string;
  /** Only after everything before it has been carried out: the pins tell the next cleanup what there is. */
  readonly last?: boolean;
  carryOut(): void;
}

export interface Removal {
  readonly steps: readonly Step[];
  /** What is left as it is, and why. */
  readonly notes: readonly string[];
}

/** Whether settings go back to what they were, or stay for the dataplane that has taken over, and keeps account of them. */
export type Settings = 'restore' | 'keep';

/**
 * What belongs to `root`. Looks, and changes nothing. `network` says whether this process is in the network namespace that
 * the dataplane serves: filters and settings are looked for only there.
 */
export function removalOf(root: string, network: 'here' | 'gone', kept: Settings = 'restore'): Removal {
  const pins = listPins(root);
  const here = network === 'here';
  const restores = kept === 'restore' && here && pins.includes(MAPS.weir_sysctls.name);
  const settings = restores ? restoreSettings(root) : { steps: [], notes: [] };
  const programs = [...removeXdp(root, pins), ...removeSockets(root, pins)];
  const filters = here ? removeFilters() : [];
  return { steps: [...filters, ...programs, ...settings.steps, ...removePinned(root, pins)], notes: settings.notes };
}

/** Every program of Weir's at the clsact hooks of this network namespace, whichever directory it belongs to. */
export function removeFilters(): Step[] {
  return ownedAttachments().map(({ device, direction, program }) => ({
    verb: 'remove',
    what: `${program} from ${device.name} ${direction}`,
    carryOut: () => void detachTc(device, direction),
  }));
}

function removeXdp(root: string, pins: readonly string[]): Step[] {
  const names = new Map(listDevices().map(({ ifindex, name }) => [ifindex, name]));
  return xdpDevices(pins).map((ifindex) => ({
    verb: 'remove',
    what: `weir_xdp from ${names.get(ifindex) ?? `device ${ifindex}, which is gone`}`,
    carryOut: () => void detachXdp(root, ifindex),
  }));
}
const XDP_PIN = /^weir_xdp_(\d+)$/;

function removeSockets(root: string, pins: readonly string[]): Step[] {
  return socketHooks(pins).map((hook) => ({
    verb: 'remove',
    what: `${SOCKET_HOOKS[hook].program} from its cgroup`,
    carryOut: () => detachSocket(root, hook),
  }));
}

/** Interface indexes that pins of XDP links are for. */
export function xdpDevices(pins: readonly string[]): number[] {
  return pins.flatMap((pin) => {
    const [, ifindex] = XDP_PIN.exec(pin) ?? [];
    return ifindex === undefined ? [] : [Number(ifindex)];
  });
}

/** Settings go back to what they were, unless somebody else has changed them since. */
function restoreSettings(root: string): Removal {
  try {
    using table = openTable(root, MAPS.weir_sysctls);
    return restoring([...table.entries()].map(([{ path }, { before, value }]) => ({ path, before, value })));
  } catch (error) {
    return { steps: [], notes: [`leave the kernel settings: ${describeError(error)}`] };
  }
}

/** Steps for settings that were changed from `before` to `value`. */
export function restoring(
  changed: readonly { readonly path: string; readonly before: string; readonly value: string }[],
): Removal {
  const steps: Step[] = [];
  const notes: string[] = [];
  for (const { path, before, value } of [...changed].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    const now = readSysctl(path);
    const carryOut = (): void => writeSysctl(path, before);
    if (now === value) steps.push({ verb: 'restore', what: `${path}=${before}`, carryOut });
    else if (now !== undefined && now !== before)
      notes.push(`leave ${path}=${now}: it is not the ${value} that Weir set`);
  }
  return { steps, notes };
}

/** The links of XDP and of cgroups went with their programs. */
function removePinned(root: string, pins: readonly string[]): Step[] {
  const steps: Step[] = pins
    .filter((pin) => !XDP_PIN.test(pin) && socketHooks([pin]).length === 0)
    .map((pin) => ({ verb: 'remove', what: join(root, pin), last: true, carryOut: () => void unpin(join(root, pin)) }));
  const onlyOurs = existsSync(root) && readdirSync(root).length === pins.length;
  if (onlyOurs) steps.push({ verb: 'remove', what: root, last: true, carryOut: () => void removePins(root) });
  return steps;
}
