/**
 * One boot of one kernel under QEMU for a list of commands. The guest sees the host's files through a layer that forgets what is
 * written, and has no network device. Under emulation it takes 4 s to the first command, which then runs about twenty times slower.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bareKernel } from './bare-kernel.js';
import { initramfs, modulesOf } from './initramfs.js';
import type { Kernel } from './kernels.js';

const SOURCES = fileURLToPath(new URL('../../../test/vm/', import.meta.url));
const COMMAND_LINE =
  'console=ttyS0 quiet loglevel=5 panic=-1 oops=panic mitigations=off nokaslr no_timer_check tsc=reliable ' +
  'random.trust_cpu=on audit=0 apparmor=0 selinux=0 cgroup_no_v1=all net.ifnames=0 nowatchdog rcupdate.rcu_expedited=1 ' +
  'cryptomgr.notests initcall_blacklist=ahci_pci_driver_init';

export interface Command {
  readonly words: readonly string[];
  /** Besides PATH and HOME. */
  readonly environment: Readonly<Record<string, string>>;
  /** s until it is ended, with status 124. */
  readonly limit: number;
}

export interface Outcome {
  readonly status: number;
  /** Standard output and standard error together. */
  readonly output: string;
}

/** What this machine lacks to run another, in words, or '' where nothing is missing. */
export function missing(): string {
  if (process.arch !== 'x64') return `virtual machines are set up for x86-64, this is ${process.arch}`;
  const programs = ['qemu-system-x86_64', 'busybox', 'depmod', 'modprobe', 'xz'];
  const lacking = programs.filter(
    (name) => !['/usr/sbin', '/usr/bin', '/sbin', '/bin'].some((at) => existsSync(join(at, name))),
  );
  return lacking.length > 0 ? `${lacking.join(', ')} not found: scripts/install-packages installs them` : '';
}

/** A guest that carries out its commands one after the other, and then switches itself off. */
export class Machine implements Disposable {
  readonly #kernel: Kernel;
  /** What the guest has as /run/job. */
  readonly #place: string;
  readonly #child: ChildProcess;
  #complaint = '';

  private constructor(kernel: Kernel, place: string) {
    this.#kernel = kernel;
    this.#place = place;
    this.#child = emulate(place, kernel);
    this.#child.stderr?.on('data', (chunk: Buffer) => (this.#complaint += chunk.toString()));
    this.#child.on('error', (error) => (this.#complaint += error.message));
  }

  static boot(kernel: Kernel, commands: readonly Command[]): Machine {
    const place = mkdtempSync(join(tmpdir(), 'weir-vm-'));
    copyFileSync(join(SOURCES, 'guest.sh'), join(place, 'guest.sh'));
    writeFileSync(join(place, 'job'), jobText(kernel, commands));
    writeFileSync(join(place, 'initramfs'), initramfs(kernel, readFileSync(join(SOURCES, 'init.sh'), 'utf8')));
    return new Machine(kernel, place);
  }

  /** What became of a command, once it has ended. Throws where the guest ends without it, with the end of what it said. */
  async outcome(index: number): Promise<Outcome> {
    const status = join(this.#place, `${index}.status`);
    while (!existsSync(status)) {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) throw new Error(this.#lastWords(index));
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    return { status: Number(readFileSync(status, 'utf8')), output: this.#read(`${index}.output`) };
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
    rmSync(this.#place, { recursive: true, force: true });
  }

  #lastWords(index: number): string {
    const words = [this.#complaint, this.#read(`${index}.output`).slice(-4000), this.#read('console').slice(-4000)];
    return `Linux ${this.#kernel.release} ended before command ${index} did\n${words.join('\n')}`;
  }

  #read(name: string): string {
    const path = join(this.#place, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }
}

/** A script of bash; guest.sh has the function `command`. */
function jobText(kernel: Kernel, commands: readonly Command[]): string {
  const { PATH = '', HOME = '/root' } = process.env;
  const exported = Object.entries({ PATH, HOME, TERM: 'dumb' }).map(
    ([name, value]) => `export ${name}=${quoted(value)}`,
  );
  const settings = [`MODULES=${quoted(modulesOf(kernel))}`, `DIRECTORY=${quoted(process.cwd())}`];
  const lines = commands.map(({ words, environment, limit }, index) => {
    const own = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    return `  command ${index} ${limit} ${['env', ...own, ...words].map(quoted).join(' ')}`;
  });
  return [...exported, ...settings, 'commands() {', '  :', ...lines, '}', ''].join('\n');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The bare kernel is kept beside the package, it does not change. */
function vmlinux({ directory }: Kernel): string {
  const path = join(directory, 'vmlinux');
  if (existsSync(path)) return path;
  const packed = readdirSync(join(directory, 'boot')).find((name) => name.startsWith('vmlinuz-')) ?? '';
  writeFileSync(`${path}.${process.pid}`, bareKernel(readFileSync(join(directory, 'boot', packed))));
  execFileSync('mv', [`${path}.${process.pid}`, path]);
  return path;
}

function emulate(place: string, kernel: Kernel): ChildProcess {
  const share = (tag: string, path: string, more: string): string[] => [
    ...['-fsdev', `local,id=${tag},path=${path},security_model=none,multidevs=remap${more}`],
    ...['-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`],
  ];
  return spawn(
    'qemu-system-x86_64',
    [
      ...['-machine', 'q35', ...processor(), '-smp', '2', '-m', '2048'],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-monitor', 'none', '-no-reboot'],
      ...['-kernel', vmlinux(kernel), '-initrd', join(place, 'initramfs'), '-append', COMMAND_LINE],
      ...['-serial', `file:${join(place, 'console')}`],
      ...share('host', '/', ',readonly=on'),
      ...share('job', place, ''),
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
}

/** Hardware virtualisation only with the real vendor's module: what else calls itself /dev/kvm may not start a stock kernel. */
function processor(): string[] {
  const real = existsSync('/dev/kvm') && ['kvm_intel', 'kvm_amd'].some((name) => existsSync(`/sys/module/${name}`));
  return real ? ['-accel', 'kvm', '-cpu', 'host'] : ['-accel', 'tcg,thread=multi', '-cpu', 'Nehalem,+rdrand'];
}
