/** Network namespaces: where the dataplane of a directory works, and going there. */
import { closeSync, openSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { enterNetns } from '../loader/devices.js';
import { lookupElement, mapInfo, withPinned } from '../loader/kernel-map.js';
import type { Fd } from '../loader/libbpf.js';
import { encodeOne } from '../maps/codec.js';
import { MAPS } from '../maps/layout.js';

const OWN = '/proc/self/ns/net';

/**
 * The network namespace of the last agent below `root`: `here` also where none is known, `gone` where it no longer exists,
 * else a path to it.
 */
export function namespaceOf(root: string): string {
  const { inode, certain } = recordedInode(root);
  if (inode === 0n || inode === inodeOf(OWN)) return 'here';
  const named = listed('/run/netns').map((name) => join('/run/netns', name));
  const held = listed('/proc').flatMap((name) => (/^\d+$/.test(name) ? [join('/proc', name, 'ns/net')] : []));
  return [...named, ...held].find((path) => inodeOf(path) === inode) ?? (certain ? 'gone' : 'here');
}

/** Does the work in another network namespace. */
export function visiting<T>(path: string, work: () => T): T {
  const [home, there] = [openSync(OWN, 'r'), openSync(path, 'r')];
  enterNetns(there as Fd);
  try {
    return work();
  } finally {
    enterNetns(home as Fd);
    [home, there].forEach((fd) => closeSync(fd));
  }
}

/** 0n where no agent has written it down. Another version's entry is read as if it were ours, which is a guess. */
function recordedInode(root: string): { inode: bigint; certain: boolean } {
  const { name, keySize, valueSize, key, value } = MAPS.weir_config;
  const found = withPinned(join(root, name), (fd) => {
    const shape = mapInfo(fd);
    const entry = Buffer.alloc(Math.max(shape.valueSize, valueSize));
    if (shape.keySize !== keySize || !lookupElement(fd, encodeOne(key, 0), entry)) return undefined;
    return { inode: value.decode(entry, 0).netns, certain: shape.valueSize === valueSize };
  });
  return found ?? { inode: 0n, certain: false };
}

function inodeOf(path: string): bigint | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
}

function listed(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
