/**
 * Stock Debian kernels for the virtual machines: found and downloaded through apt, unpacked below .cache/kernels, and never
 * installed. The names of packages roll with every security update, so a kernel is asked for by its meta-package.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CACHE = fileURLToPath(new URL('../../../.cache/kernels/', import.meta.url));
const KEYS = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Meta-package by version; `suite` of the security archive where the machine's own suite has no such kernel. */
const PACKAGES: Readonly<Record<string, { readonly meta: string; readonly suite?: string }>> = {
  '5.10': { meta: 'linux-image-amd64', suite: 'bullseye-security' },
  '6.1': { meta: 'linux-image-amd64' },
  '6.12': { meta: 'linux-image-6.12-amd64' },
};

export interface Kernel {
  /** As uname -r says it. */
  readonly release: string;
  /** Where the package was unpacked: boot/ and lib/modules/ are below it. */
  readonly directory: string;
}

/** Downloads the kernel unless it is there. Throws, naming what failed, where apt has no such package or no network. */
export function fetchKernel(version: string): Kernel {
  const wanted = PACKAGES[version];
  if (!wanted) throw new Error(`no kernel ${version}: known are ${Object.keys(PACKAGES).join(', ')}`);
  const apt = aptOptions(version, wanted.suite);
  const name = imageName(apt, wanted.meta);
  const release = name.replace('linux-image-', '');
  const directory = join(CACHE, release);
  if (!existsSync(directory)) unpack(apt, name, directory);
  return { release, directory };
}

/** A suite that is not the machine's own gets lists of its own, beside the kernels. */
function aptOptions(version: string, suite: string | undefined): string[] {
  const options = ['-q=2', '-o', 'APT::Sandbox::User=root'];
  if (suite === undefined) return options;
  const place = join(CACHE, `apt-${version}`);
  mkdirSync(join(place, 'lists/partial'), { recursive: true });
  mkdirSync(join(place, 'cache/archives/partial'), { recursive: true });
  writeFileSync(join(place, 'sources.list'), `deb [signed-by=${KEYS}] ${securityArchive()} ${suite} main\n`);
  const own = { 'Etc::sourcelist': 'sources.list', 'State::lists': 'lists', Cache: 'cache' };
  const settings = Object.entries(own).map(([key, path]) => `Dir::${key}=${join(place, path)}`);
  return [...options, ...['Dir::Etc::sourceparts=-', ...settings].flatMap((setting) => ['-o', setting])];
}

/** Where this machine has its own security updates from. */
function securityArchive(): string {
  const words = ['indextargets', '--format', '$(SITE)', 'Label: Debian-Security'];
  const [site = ''] = execFileSync('apt-get', words, { encoding: 'utf8' }).split('\n');
  if (site === '') throw new Error('apt knows no security archive of Debian: apt-get update, with one in its sources');
  return site;
}

function imageName(apt: readonly string[], meta: string): string {
  const found = dependency(apt, meta);
  if (found !== undefined) return found;
  execFileSync('apt-get', [...apt, 'update'], { stdio: ['ignore', 'ignore', 'inherit'] });
  const name = dependency(apt, meta);
  if (name === undefined) throw new Error(`apt knows no ${meta}`);
  return name;
}

/** undefined where apt does not know the package. */
function dependency(apt: readonly string[], meta: string): string | undefined {
  const { stdout } = spawnSync('apt-cache', [...apt, 'depends', meta], { encoding: 'utf8' });
  return /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
}

function unpack(apt: readonly string[], name: string, directory: string): void {
  mkdirSync(CACHE, { recursive: true });
  const place = mkdtempSync(join(CACHE, 'download-'));
  try {
    execFileSync('apt-get', [...apt, 'download', name], { cwd: place, stdio: ['ignore', 'ignore', 'inherit'] });
    const file = readdirSync(place).find((entry) => entry.endsWith('.deb')) ?? '';
    execFileSync('dpkg', ['-x', file, 'tree'], { cwd: place });
    renameSync(join(place, 'tree'), directory);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}
