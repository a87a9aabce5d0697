/** The archive that a kernel starts from: busybox, the modules that reach the host's files, and init.sh. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Kernel } from './kernels.js';

const MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay'];
const APPLETS = ['sh', 'mount', 'mkdir', 'insmod', 'cat', 'switch_root', 'poweroff', 'echo'];

/** `init` is the script that runs first. Throws where the kernel has no 9p, as Debian's cloud kernels. */
export function initramfs(kernel: Kernel, init: string): Buffer {
  const modules = loadOrder(kernel);
  const directories = ['bin', 'm', 'proc', 'sys', 'dev', 'lower', 'over', 'root'];
  const entries: Entry[] = [
    ...directories.map((name) => ({ name, mode: 0o040755, data: Buffer.alloc(0) })),
    { name: 'bin/busybox', mode: 0o100755, data: readFileSync('/bin/busybox') },
    ...APPLETS.map((name) => ({ name: `bin/${name}`, mode: 0o120777, data: Buffer.from('busybox') })),
    ...modules.map((path) => ({ name: `m/${moduleFile(path)}`, mode: 0o100644, data: unpacked(path) })),
    { name: 'order', mode: 0o100644, data: Buffer.from(modules.map(moduleFile).join('\n')) },
    { name: 'init', mode: 0o100755, data: Buffer.from(init) },
  ];
  return cpio(entries);
}

export function modulesOf({ directory, release }: Kernel): string {
  const places = ['lib', 'usr/lib'].map((place) => join(directory, place, 'modules', release));
  return places.find((place) => existsSync(place)) ?? '';
}

/** Files of the modules, those first that others need. */
function loadOrder(kernel: Kernel): string[] {
  const base = modulesOf(kernel).replace(/\/lib\/modules\/.*/, '');
  if (!existsSync(join(modulesOf(kernel), 'modules.dep'))) execFileSync('depmod', ['-b', base, kernel.release]);
  const files = new Set<string>();
  for (const name of MODULES) {
    const shown = execFileSync('modprobe', ['-d', base, '-S', kernel.release, '-D', name], { encoding: 'utf8' });
    for (const match of shown.matchAll(/^insmod (\S+)/gm)) files.add(match[1] ?? '');
  }
  return [...files];
}

function moduleFile(path: string): string {
  return basename(path).replace(/\.ko.*/, '.ko');
}

function unpacked(path: string): Buffer {
  return path.endsWith('.xz') ? execFileSync('xz', ['-dc', path], { maxBuffer: 1 << 28 }) : readFileSync(path);
}

interface Entry {
  readonly name: string;
  readonly mode: number;
  readonly data: Buffer;
}

/** The "newc" format, Documentation/driver-api/early-userspace/buffer-format.rst: fields of eight hexadecimal digits, all aligned to 4. */
function cpio(entries: readonly Entry[]): Buffer {
  const all = [...entries, { name: 'TRAILER!!!', mode: 0, data: Buffer.alloc(0) }];
  const parts = all.flatMap(({ name, mode, data }, index) => {
    const fields = [index + 1, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length + 1, 0];
    const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`);
    return [header, padding(header.length), data, padding(data.length)];
  });
  return Buffer.concat(parts);
}

function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
