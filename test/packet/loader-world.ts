/** What the tests of the loader live in: a bpf file system, a network namespace and objects compiled for them. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readlinkSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { enterNetns } from '../../src/loader/devices.js';
import type { Fd } from '../../src/loader/libbpf.js';

const SOURCE = 'test/packet/probe.bpf.c';
let namespaces = 0;

export function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Mounts a bpf file system for this test; the path is that of a directory on it that does not exist yet. */
export function bpffs(t: ExecutionContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'weir-bpffs-'));
  run('mount', '-t', 'bpf', 'bpf', dir);
  t.teardown(() => {
    run('umount', dir);
    rmdirSync(dir);
  });
  return join(dir, 'weir');
}

/** Compiles test/packet/probe.bpf.c with some macros defined; returns the path of the object. */
export function probeObject(t: ExecutionContext, ...defines: string[]): string {
  const dir = mkdtempSync(join(tmpdir(), 'weir-probe-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const object = join(dir, 'probe.bpf.o');
  const include = ['-Ibpf', '-I/usr/include/x86_64-linux-gnu', '-I/usr/include/aarch64-linux-gnu'];
  const flags = ['-O2', '-g', '-Wall', '-target', 'bpf', '-mcpu=v3', ...include, ...defines.map((name) => `-D${name}`)];
  run(process.env['CLANG'] ?? 'clang-19', ...flags, '-c', SOURCE, '-o', object);
  return object;
}

/**
 * Moves this process (and the children it starts) into a new network namespace with a pair of veths, wa and wb, and lo up.
 * For serial tests only.
 */
export function netns(t: ExecutionContext): void {
  const name = `weir-loader-${process.pid}-${namespaces++}`;
  run('ip', 'netns', 'add', name);
  const [home, there] = [openSync('/proc/self/ns/net', 'r'), openSync(`/run/netns/${name}`, 'r')];
  t.teardown(() => {
    enterNetns(home as Fd);
    closeSync(home);
    closeSync(there);
    run('ip', 'netns', 'del', name);
  });
  enterNetns(there as Fd);
  run('ip', 'link', 'set', 'lo', 'up');
  run('ip', 'link', 'add', 'wa', 'type', 'veth', 'peer', 'name', 'wb');
  for (const device of ['wa', 'wb']) run('ip', 'link', 'set', device, 'up');
}

/** How many descriptors of BPF maps, programs, links and BTF this process holds. */
export function bpfDescriptors(): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return links.filter((link) => /^anon_inode:\[?(bpf|btf)/.test(link)).length;
}
