/**
 * A cgroup of a test's own, reachable where /sys is hidden (ip netns exec mounts it anew). Disposing ends the processes in it
 * and removes it.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

let groups = 0;
const PATIENCE = 5000 * Number(process.env['WEIR_TIME_FACTOR'] ?? 1);

export class Group implements AsyncDisposable {
  readonly #mount: string;
  readonly path: string;

  constructor() {
    this.#mount = mkdtempSync(join(tmpdir(), 'weir-cgroup-'));
    execFileSync('mount', ['-t', 'cgroup2', 'cgroup2', this.#mount]);
    this.path = join(this.#mount, `weir-${process.pid}-${groups++}`);
    mkdirSync(this.path);
  }

  /** Takes a process in: it counts for the sockets that it opens from now on. */
  add({ pid }: { readonly pid: number }): void {
    writeFileSync(join(this.path, 'cgroup.procs'), `${pid}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    writeFileSync(join(this.path, 'cgroup.kill'), '1');
    const deadline = Date.now() + PATIENCE;
    while (!removed(this.path)) {
      if (Date.now() > deadline) throw new Error(`${this.path} is still in use`);
      await sleep(20);
    }
    execFileSync('umount', [this.#mount]);
    rmdirSync(this.#mount);
  }
}

/** A group can be removed, with those below it, once its last process has ended. */
function removed(path: string): boolean {
  try {
    const below = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    for (const { name } of below) rmdirSync(join(path, name));
    rmdirSync(path);
    return true;
  } catch {
    return false;
  }
}
