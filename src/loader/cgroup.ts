/** The programs for sockets below a cgroup: bpf_links pinned as weir_cgroup_<hook>, so that they outlive the agent and swap atomically. */
import { existsSync, openSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { WeirError } from '../errors.js';
import { objectInfo, openPinned, pin, withPinned } from './kernel-map.js';
import { closeFd, type Fd } from './libbpf.js';
import { libbpf } from './native.js';
import { listPins, unpin } from './pins.js';

/** Program by hook, and the hook's number (enum bpf_attach_type). */
export const SOCKET_HOOKS = {
  connect4: { program: 'weir_connect4', type: 10 },
  connect6: { program: 'weir_connect6', type: 11 },
  sendmsg4: { program: 'weir_sendmsg4', type: 14 },
  sendmsg6: { program: 'weir_sendmsg6', type: 15 },
  recvmsg4: { program: 'weir_recvmsg4', type: 19 },
  recvmsg6: { program: 'weir_recvmsg6', type: 20 },
  getpeername4: { program: 'weir_getpeer4', type: 29 },
  getpeername6: { program: 'weir_getpeer6', type: 30 },
} as const;
export type SocketHook = keyof typeof SOCKET_HOOKS;
export type SocketProgram = (typeof SOCKET_HOOKS)[SocketHook]['program'];

/**
 * Answers are named before anything is sent that is answered under another name, and as long as there is: the order of
 * attaching, and in reverse that of detaching.
 */
const HOOKS: readonly SocketHook[] = [
  'getpeername4',
  'getpeername6',
  'recvmsg4',
  'recvmsg6',
  'sendmsg4',
  'sendmsg6',
  'connect4',
  'connect6',
];

const PREFIX = 'weir_cgroup_';
const CGROUP2_MAGIC = 0x63677270;

/** Throws WEIR_CGROUP where the path is no directory of a cgroup2 file system. */
export function checkCgroup(path: string): void {
  const refuse = (why: string): never => {
    throw new WeirError('WEIR_CGROUP', `use --cgroup ${path}: ${why}`);
  };
  if (!existsSync(path)) refuse('there is no such directory');
  if (!statSync(path).isDirectory() || statfsSync(path).type >>> 0 !== CGROUP2_MAGIC)
    refuse('it is no cgroup2 directory');
}

/**
 * Puts the programs at the hooks of the cgroup. A link that is there already gets the new program in one step; one to another
 * cgroup goes once the new one is in force. Throws WEIR_CGROUP, KernelError.
 */
export function attachSockets(root: string, path: string, program: (name: SocketProgram) => Fd): void {
  checkCgroup(path);
  const cgroup = openSync(path, 'r') as Fd;
  try {
    const id = statSync(path, { bigint: true }).ino;
    for (const hook of HOOKS) place(root, hook, cgroup, id, program(SOCKET_HOOKS[hook].program));
  } finally {
    closeFd(cgroup);
  }
}

/** Whether the programs are at the hooks of the cgroup that is at the path now. */
export function socketsAttached(root: string, path: string): boolean {
  if (!existsSync(path)) return false;
  const id = statSync(path, { bigint: true }).ino;
  return HOOKS.every((hook) => withPinned(pinPath(root, hook), linkCgroup) === id);
}

/** Removes the programs from the cgroup. Returns the names of the hooks where they were. */
export function detachSockets(root: string): SocketHook[] {
  const attached = socketHooks(listPins(root));
  for (const hook of attached) detachSocket(root, hook);
  return attached;
}

/** Removes one of the programs at once, and not when its last descriptor is closed. */
export function detachSocket(root: string, hook: SocketHook): void {
  const path = pinPath(root, hook);
  withPinned(path, (link) => libbpf.linkDetach.attempt(link));
  unpin(path);
}

/** The hooks that pins are for, in the order in which they are to be removed. */
export function socketHooks(pins: readonly string[]): SocketHook[] {
  return [...HOOKS].reverse().filter((hook) => pins.includes(`${PREFIX}${hook}`));
}

function place(root: string, hook: SocketHook, cgroup: Fd, id: bigint, program: Fd): void {
  const path = pinPath(root, hook);
  const link = openPinned(path);
  const { type } = SOCKET_HOOKS[hook];
  try {
    if (link !== undefined && linkCgroup(link) === id) {
      libbpf.linkUpdate.call(`replace the program at ${hook}`, link, program, null);
      return;
    }
    const fresh = libbpf.linkCreate.call(`attach to the cgroup at ${hook}`, program, cgroup, type, null) as Fd;
    try {
      if (link !== undefined) detachSocket(root, hook);
      pin(fresh, path);
    } finally {
      closeFd(fresh);
    }
  } finally {
    if (link !== undefined) closeFd(link);
  }
}

/** Id of the cgroup that a link is at: the inode of its directory, 0 once that is removed. */
function linkCgroup(link: Fd): bigint {
  return objectInfo(link, 32).readBigUInt64LE(16); // struct bpf_link_info
}

function pinPath(root: string, hook: SocketHook): string {
  return join(root, `${PREFIX}${hook}`);
}
