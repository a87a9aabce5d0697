/** The directory on a bpf file system where Weir keeps its maps and links, and the lock that makes it one agent's. */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statfsSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { WeirError } from '../errors.js';
import { KernelError } from './errors.js';
import { sys } from './native.js';

const BPF_FS_MAGIC = 0xcafe4a11;
/** Everything that Weir pins begins with this. */
export const PIN_PREFIX = 'weir_';

/**
 * Creates `root` (and what is missing above it) on the bpf file system where it lies. Throws WEIR_BPFFS where it lies on
 * another one: Weir mounts none, because a mount made by a container would vanish with it.
 */
export function ensureRoot(root: string): void {
  const path = resolve(root);
  const above = nearestExisting(path);
  if (statfsSync(above).type >>> 0 !== BPF_FS_MAGIC) {
    throw new WeirError('WEIR_BPFFS', `use ${root}: ${above} is not on a mounted bpf file system`);
  }
  if (above === path) return;
  if (path.slice(above.length).includes('.')) {
    throw new WeirError('WEIR_BPFFS', `create ${root}: names on a bpf file system must not contain a dot`);
  }
  try {
    mkdirSync(path, { recursive: true, mode: 0o755 });
  } catch (cause) {
    throw new WeirError('WEIR_BPFFS', `create ${root}: ${String(cause)}`, { cause });
  }
}

function nearestExisting(path: string): string {
  let at = path;
  while (!existsSync(at) && at !== dirname(at)) at = dirname(at);
  return at;
}

/** Names of Weir's pins below `root`, sorted; none where the directory does not exist. */
export function listPins(root: string): string[] {
  if (!existsSync(root)) return [];
  return readdirSync(root)
    .filter((name) => name.startsWith(PIN_PREFIX))
    .sort();
}

/** Unpins one thing; false where it was not pinned. The kernel frees it once nothing else uses it. */
export function unpin(path: string): boolean {
  if (!existsSync(path)) return false;
  unlinkSync(path);
  return true;
}

/** Unpins everything of Weir's below `root` and removes the directory unless something else is in it. Returns the names. */
export function removePins(root: string): string[] {
  const names = listPins(root);
  for (const name of names) unlinkSync(join(root, name));
  if (existsSync(root) && readdirSync(root).length === 0) rmdirSync(root);
  return names;
}

const LOCK_SHARED = 1;
const LOCK_EXCLUSIVE = 2;
const LOCK_NON_BLOCKING = 4;
const EAGAIN = -11;
/** `isLocked` holds the lock for a moment, which lasts where processors are short: ms that it is waited for, and between attempts. */
const PATIENCE = 5_000;
const PAUSE = 20;

/**
 * Takes `root` for this process until it is disposed of or the process ends, however it ends. Throws WEIR_ALREADY_RUNNING,
 * naming the pid that holds it where it can be seen from here.
 */
export function lockRoot(root: string): Disposable {
  const fd = openSync(root, 'r');
  const end = Date.now() + PATIENCE;
  while (!tryLock(fd, LOCK_EXCLUSIVE, root)) {
    if (Date.now() < end && !locksOf(root).some(({ mode }) => mode === 'WRITE')) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE);
      continue;
    }
    closeSync(fd);
    const pid = lockHolder(root);
    const who = pid === undefined ? 'another agent' : `the agent with pid ${pid}`;
    throw new WeirError('WEIR_ALREADY_RUNNING', `lock ${root}: ${who} uses it`, { details: { pid } });
  }
  return { [Symbol.dispose]: () => closeSync(fd) };
}

/** Whether some process holds `root`; false where it does not exist. */
export function isLocked(root: string): boolean {
  if (!existsSync(root)) return false;
  const fd = openSync(root, 'r');
  try {
    return !tryLock(fd, LOCK_SHARED, root);
  } finally {
    closeSync(fd);
  }
}

/** The pid that holds `root`, as far as this pid namespace shows it. */
export function lockHolder(root: string): number | undefined {
  return locksOf(root).find(({ pid }) => pid > 0)?.pid;
}

/** proc_locks(5): `1: FLOCK ADVISORY WRITE 1234 08:01:5678 0 EOF`. */
function locksOf(root: string): { mode: string; pid: number }[] {
  const inode = statSync(root).ino;
  const all = readFileSync('/proc/locks', 'utf8').split('\n');
  const lines = all.filter((text) => text.includes(' FLOCK ') && text.includes(`:${inode} `));
  return lines.map((line) => {
    const [, , , mode = '', pid] = line.trim().split(/\s+/);
    return { mode, pid: Number(pid) };
  });
}

function tryLock(fd: number, kind: number, root: string): boolean {
  const result = sys.flock.attempt(fd, kind | LOCK_NON_BLOCKING);
  if (result === EAGAIN) return false;
  if (result < 0) throw new KernelError('flock', -result, `lock ${root}`);
  return true;
}
