/** Network devices of the namespace that the process is in. */
import { readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { WeirError } from '../errors.js';
import { KernelError } from './errors.js';
import { closeFd, cString, type Fd } from './libbpf.js';
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

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const SOL_SOCKET = 1;
const SO_NETNS_COOKIE = 71;

/** The kernel's number of the network namespace that the process is in: never that of another one until the next boot. */
export function netnsCookie(): bigint {
  const socket = sys.socket.call('open socket', AF_INET, SOCK_DGRAM_CLOEXEC, 0) as Fd;
  try {
    const [cookie, length] = [Buffer.alloc(8), Buffer.alloc(4)];
    length.writeUInt32LE(cookie.length);
    sys.getSocketOption.call(
      'ask for the cookie of the network namespace',
      socket,
      SOL_SOCKET,
      SO_NETNS_COOKIE,
      cookie,
      length,
    );
    return cookie.readBigUInt64LE();
  } finally {
    closeFd(socket);
  }
}
