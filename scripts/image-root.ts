/**
 * Puts together the files that the image adds to Debian: `node dist/scripts/image-root.js DIR` fills DIR, which must be empty
 * or absent, with usr/local/bin and opt/weir. The Dockerfile runs it, and the tests do.
 */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));
/** Where the checkout's parts go. */
const APP = 'opt/weir';
const PARTS = ['bin', 'dist/src', 'bpf/build/weir.bpf.o', 'package.json', 'LICENSE', 'LICENSES'];
/** Declarations, maps and what compilers read and leave behind: nothing that runs. */
const NOT_RUN = /\.([mc]?ts|map|cc|cpp|c|h|gypi?|a|mk)$|\/Makefile$/;
const NOT_RUN_FOLDERS = /\/(\.github|\.deps|obj\.target|(ffi|ref)-napi\/(deps|test|docs|src|example))$/;

interface LockedPackage {
  readonly dev?: boolean;
  readonly devOptional?: boolean;
}

/** Folders of the packages without which Weir does not run, as the lock file has them. */
function productionPackages(): string[] {
  const lock = JSON.parse(readFileSync(join(CHECKOUT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockedPackage>;
  };
  return Object.entries(lock.packages)
    .filter(([path, { dev, devOptional }]) => path !== '' && !dev && !devOptional && !path.includes('@types/'))
    .map(([path]) => path)
    .filter((path) => existsSync(join(CHECKOUT, path))); // an optional one may not be for this machine
}

function runs(path: string): boolean {
  return !NOT_RUN.test(path) && !NOT_RUN_FOLDERS.test(path);
}

function fill(root: string): void {
  const app = join(root, APP);
  const commands = join(root, 'usr/local/bin');
  [app, commands].forEach((directory) => mkdirSync(directory, { recursive: true }));
  for (const part of PARTS) cpSync(join(CHECKOUT, part), join(app, part), { recursive: true, filter: runs });
  for (const path of productionPackages()) {
    const from = join(CHECKOUT, path);
    /* what lies in a node_modules of its own is in the list by itself */
    const own = (file: string): boolean => !file.slice(from.length).includes('/node_modules') && runs(file);
    cpSync(from, join(app, path), { recursive: true, filter: own });
  }
  copyFileSync(process.execPath, join(commands, 'node'));
  chmodSync(join(commands, 'node'), 0o755);
  symlinkSync(`/${APP}/bin/weir`, join(commands, 'weir'));
}

const [target] = process.argv.slice(2);
if (target === undefined || (existsSync(target) && readdirSync(target).length > 0)) {
  process.stderr.write(`${basename(process.argv[1] ?? '')}: give a directory that is empty or absent\n`);
  process.exitCode = 2;
} else {
  fill(target);
}
