/** What goes into the image: the files of scripts/image-root.ts, the packages of scripts/image-packages, nothing to build with. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { makeImage } from './image.js';
import { CHECKOUT } from './manifests.js';
import { run } from './place.js';

const image = makeImage();
test.after.always(() => image[Symbol.dispose]());

/** What compiles, links or installs. */
const TOOLS = /^(gcc|g\+\+|cc|c\+\+|cpp|clang|llvm|ld|as|make|tsc|node-gyp|npm|npx|python3?|bpftool)(-[\d.]+)?$/;
const BUILD_PACKAGES = /^(gcc|g\+\+|cpp|clang|llvm|binutils|make|python|npm|nodejs|bpftool|build-essential|.*-dev$)/;

function commandsBelow(root: string): string[] {
  const directories = ['usr/bin', 'usr/sbin', 'usr/local/bin', 'usr/local/sbin'].map((path) => join(root, path));
  return directories.flatMap((directory) => (existsSync(directory) ? readdirSync(directory) : []));
}

test('the program runs from the image as from the checkout', (t) => {
  const { version } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8')) as { version: string };
  t.is(run(join(image.root, 'usr/local/bin/node'), join(image.root, 'opt/weir/bin/weir'), '--version').trim(), version);
  t.true(statSync(join(image.root, 'opt/weir/bpf/build/weir.bpf.o')).size > 0);
});

test('no compiler and no package manager of Node is in the image, and no package that brings one is asked for', (t) => {
  const list = run(join(CHECKOUT, 'scripts/image-packages'), '--list').trim().split('\n');
  t.true(list.includes('libbpf1') && list.includes('iproute2'));
  t.deepEqual(
    list.filter((name) => BUILD_PACKAGES.test(name)),
    [],
  );
  t.deepEqual(
    commandsBelow(image.root).filter((name) => TOOLS.test(name)),
    [],
  );
});

test('the image has the packages that the lock file wants in production, and none of those for development', (t) => {
  const lock = JSON.parse(readFileSync(join(CHECKOUT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; optional?: boolean }>;
  };
  for (const [path, { dev, optional }] of Object.entries(lock.packages)) {
    if (path === '' || path.includes('@types/') || (optional && !existsSync(join(CHECKOUT, path)))) continue;
    t.is(existsSync(join(image.root, 'opt/weir', path, 'package.json')), !dev, path);
  }
});

test('the licences of all that is passed on are in the image', (t) => {
  t.true(existsSync(join(image.root, 'opt/weir/LICENSE')));
  t.deepEqual(
    readdirSync(join(image.root, 'opt/weir/LICENSES')).sort(),
    readdirSync(join(CHECKOUT, 'LICENSES')).sort(),
  );
});

test('the last stage of the Dockerfile installs by scripts/image-packages alone and copies what scripts/image-root.ts made', (t) => {
  const stages = readFileSync(join(CHECKOUT, 'Dockerfile'), 'utf8').split(/^FROM /m);
  const last = stages.at(-1) ?? '';
  t.is(stages.length, 3, 'two stages after the comment');
  t.regex(stages[1] ?? '', /node dist\/scripts\/image-root\.js \/image$/m);
  t.notRegex(last, /apt-get|npm|curl|wget/);
  t.regex(last, /^RUN \/tmp\/image-packages\b/m);
  t.deepEqual(
    [...last.matchAll(/^COPY --from=build (\S+) (\S+)$/gm)].map(([, from, to]) => [from, to]),
    [['/image/', '/']],
  );
});
