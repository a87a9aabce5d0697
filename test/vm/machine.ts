/**
 * One boot of one kernel under QEMU for one command. The guest sees the host's files through a layer that forgets what is
 * written, and has no network device. Under emulation it takes 4 s to the command, which then runs about twenty times slower.
 */
import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bareKernel } from './bare-kernel.js';
import { initramfs, modulesOf } from './initramfs.js';
import type { Kernel } from './kernels.js';

const SOURCES = fileURLToPath(new URL('../../../test/vm/', import.meta.url));
const COMMAND_LINE =
  'console=ttyS1 quiet loglevel=5 panic=-1 oops=panic mitigations=off nokaslr no_timer_check tsc=reliable ' +
  'random.trust_cpu=on audit=0 apparmor=0 selinux=0 cgroup_no_v1=all net.ifnames=0 nowatchdog rcupdate.rcu_expedited=1 ' +
  'cryptomgr.notests initcall_blacklist=ahci_pci_driver_init';

export interface Job {
  readonly command: readonly string[];
  /** Besides PATH and HOME. */
  readonly environment?: Readonly<Record<string, string>>;
  /** s until the machine is switched off. */
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

/** Throws where the time is over or the guest ends without a status, with the end of what it said. */
export async function boot(kernel: Kernel, job: Job): Promise<Outcome> {
  const place = mkdtempSync(join(tmpdir(), 'weir-vm-'));
  try {
    copyFileSync(join(SOURCES, 'guest.sh'), join(place, 'guest.sh'));
    writeFileSync(join(place, 'job'), jobText(kernel, job));
    writeFileSync(join(place, 'initramfs'), initramfs(kernel, readFileSync(join(SOURCES, 'init.sh'), 'utf8')));
    const output = await emulate(place, kernel, job.limit);
    const status = join(place, 'status');
    if (existsSync(status)) return { status: Number(readFileSync(status, 'utf8')), output };
    const log = readFileSync(join(place, 'console'), 'utf8').slice(-4000);
    throw new Error(`Linux ${kernel.release} told no status within ${job.limit} s\n${output.slice(-4000)}\n${log}`);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

function jobText(kernel: Kernel, { command, environment = {} }: Job): string {
  const { PATH = '', HOME = '/root' } = process.env;
  const exported = Object.entries({ PATH, HOME, TERM: 'dumb', ...environment });
  const lines = exported.map(([name, value]) => `export ${name}=${quoted(value)}`);
  const words = command.map(quoted).join(' ');
  const rest = [`MODULES=${quoted(modulesOf(kernel))}`, `DIRECTORY=${quoted(process.cwd())}`, `COMMAND=(${words})`];
  return [...lines, ...rest, ''].join('\n');
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

function emulate(place: string, kernel: Kernel, limit: number): Promise<string> {
  const share = (tag: string, path: string, more: string): string[] => [
    ...['-fsdev', `local,id=${tag},path=${path},security_model=none,multidevs=remap${more}`],
    ...['-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`],
  ];
  const child = spawn(
    'qemu-system-x86_64',
    [
      ...['-machine', 'q35', ...processor(), '-smp', '2', '-m', '2048'],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-monitor', 'none', '-no-reboot'],
      ...['-kernel', vmlinux(kernel), '-initrd', join(place, 'initramfs'), '-append', COMMAND_LINE],
      ...['-chardev', 'stdio,id=out,signal=off', '-serial', 'chardev:out', '-serial', `file:${join(place, 'console')}`],
      ...share('host', '/', ',readonly=on'),
      ...share('job', place, ''),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const timer = setTimeout(() => child.kill('SIGKILL'), limit * 1000);
  const chunks: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks).toString());
    });
  });
}

/** Hardware virtualisation only with the real vendor's module: what else calls itself /dev/kvm may not start a stock kernel. */
function processor(): string[] {
  const real = existsSync('/dev/kvm') && ['kvm_intel', 'kvm_amd'].some((name) => existsSync(`/sys/module/${name}`));
  return real ? ['-accel', 'kvm', '-cpu', 'host'] : ['-accel', 'tcg,thread=multi', '-cpu', 'Nehalem,+rdrand'];
}
