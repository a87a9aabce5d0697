/** Network devices of the namespace that the process is in. */
import { readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { WeirError } from '../errors.js';
import { KernelError } from './errors.js';
import { cString, type Fd } from './libbpf.js';
import { sys } from './native.js';

export interface Device {
  readonly name: string;
  readonly ifindex: number;
}

/** Throws WEIR_DEVICE where there is no such device. */
export function deviceByName(name: string): Device {
  const ifindex = sys.ifNameToIndex.attempt(cString(name));
  if (ifindex <= 0) throw new WeirError('WEIR_DEVICE', `find device ${name}: there is none in this network namespace`);
  return { name, ifindex };
}

/** All devices, by /proc, which follows setns (sysfs shows the namespace it was mounted in). */
export function listDevices(): Device[] {
  const names = readFileSync('/proc/self/net/dev', 'utf8').matchAll(/^\s*([^\s|:]+):/gm);
  return [...names].flatMap(([, name = '']) => {
    const ifindex = sys.ifNameToIndex.attempt(cString(name));
    return ifindex > 0 ? [{ name, ifindex }] : [];
  });
}

/** Name of the driver of a hardware device (virtio included), undefined for a software device such as a veth. */
export function driverOf(name: string): string | undefined {
  try {
    return basename(readlinkSync(`/sys/class/net/${name}/device/driver`));
  } catch {
    return undefined;
  }
}

const CLONE_NEWNET = 0x40000000;

/** Moves the main thread into a network namespace (an open /run/netns/NAME or /proc/PID/ns/net). */
export function enterNetns(namespace: Fd): void {
  const result = sys.setns.attempt(namespace, CLONE_NEWNET);
  if (result < 0) throw new KernelError('setns', -result, 'enter network namespace');
}
