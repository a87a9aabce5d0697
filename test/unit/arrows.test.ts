/** The import graph of src/ and its limits: design.md section 2, style.md section B.5. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import test from 'ava';

interface Import {
  readonly from: string;
  readonly target: string;
}

const files = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
  .map((name) => join('src', name));
const text = new Map(files.map((file) => [file, readFileSync(file, 'utf8')]));

/** Static, dynamic and re-exporting imports, require and types alike. */
const IMPORT =
  /(?:^|[\s;])(?:import|export)\s[^'"`;]*?from\s*['"]([^'"]+)['"]|(?:^|[\s;])import\s*['"]([^'"]+)['"]|\b(?:import|require|resolve)\(\s*['"`]([^'"`]+)['"`]/gm;

function importsOf(file: string, source: string): Import[] {
  return [...source.matchAll(IMPORT)].map((match) => ({ from: file, target: match[1] ?? match[2] ?? match[3] ?? '' }));
}

const imports = [...text].flatMap(([file, source]) => importsOf(file, source));
const own = imports.filter(({ target }) => target.startsWith('.'));
const foreign = imports.filter(({ target }) => !target.startsWith('.') && !target.startsWith('node:'));

function resolved({ from, target }: Import): string {
  return normalize(join(dirname(from), target)).replace(/\.js$/, '.ts');
}

/** Folder below src, or the name of a file in src itself. */
function area(file: string): string {
  const [, first = '', ...rest] = file.split('/');
  return rest.length > 0 ? first : first.replace(/\.ts$/, '');
}

const shown = (list: readonly Import[]): string[] => list.map(({ from, target }) => `${from} -> ${target}`);

/** What each area may import besides itself. */
const MAY: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  core: ['errors'],
  loader: ['errors'],
  maps: ['core', 'errors', 'loader'],
  ipvs: ['core', 'errors'],
  watch: ['core', 'errors'],
  host: ['core', 'errors'],
  metrics: ['core', 'errors', 'host'],
  options: ['core', 'loader'],
  agent: ['core', 'errors', 'host', 'ipvs', 'loader', 'maps', 'metrics', 'options'],
  cli: ['agent', 'core', 'errors', 'host', 'ipvs', 'loader', 'maps', 'options', 'watch'],
};

test('the test itself sees imports of every form', (t) => {
  const source = `import a from './a.js';
import type { B } from "./b.js";
import {
  c,
} from './c.js';
import './d.js';
export { e } from './e.js';
export * from './f.js';
const g = await import('./g.js');
const h = createRequire(import.meta.url)('x'), i = require('./i.js');`;
  t.deepEqual(
    importsOf('x', source).map(({ target }) => target),
    ['./a.js', './b.js', './c.js', './d.js', './e.js', './f.js', './g.js', './i.js'],
  );
  t.true(imports.length > 200, `${imports.length} imports in ${files.length} files`);
});

test('every relative import ends in .js and leads to a file that exists', (t) => {
  t.deepEqual(shown(own.filter((entry) => !entry.target.endsWith('.js') || !text.has(resolved(entry)))), []);
});

test('every area of src is one whose arrows are known', (t) => {
  t.deepEqual(
    [...new Set(files.map(area))].filter((name) => !(name in MAY)),
    [],
  );
});

for (const [name, allowed] of Object.entries(MAY)) {
  test(`${name} imports ${allowed.length > 0 ? `only ${allowed.join(', ')} and itself` : 'nothing of ours'}`, (t) => {
    const wrong = own
      .filter(({ from }) => area(from) === name)
      .filter((entry) => ![name, ...allowed].includes(area(resolved(entry))));
    t.deepEqual(shown(wrong), []);
  });
}

test('core needs nothing but the language: no file, no process, no clock', (t) => {
  const core = files.filter((file) => area(file) === 'core');
  t.deepEqual(shown(imports.filter(({ from, target }) => area(from) === 'core' && !target.startsWith('.'))), []);
  const impure =
    /\b(Date\.now|new Date\(\)|performance\.|process\.|console\.|setTimeout|setInterval|Math\.random|fetch\()/;
  t.deepEqual(
    core.filter((file) => impure.test(text.get(file) ?? '')),
    [],
  );
});

const OWNERS = [
  {
    name: 'only src/loader/libbpf.ts meets native code',
    package: /^@2060\.io\/|^(ffi|ref)-napi/,
    files: /^src\/loader\/libbpf\.ts$/,
  },
  { name: 'only src/watch meets the Kubernetes client', package: /^@kubernetes\//, files: /^src\/watch\// },
  { name: 'only src/cli meets commander', package: /^commander/, files: /^src\/cli\// },
  { name: 'only src/metrics meets the Prometheus client', package: /^prom-client$/, files: /^src\/metrics\// },
  { name: 'only src/watch meets the YAML parser', package: /^yaml/, files: /^src\/watch\// },
];

for (const { name, package: pattern, files: allowed } of OWNERS) {
  test(name, (t) => {
    const users = foreign.filter(({ target }) => pattern.test(target));
    t.true(users.length > 0, 'the package is used');
    t.deepEqual(shown(users.filter(({ from }) => !allowed.test(from))), []);
  });
}

test('no other package is used', (t) => {
  t.deepEqual(shown(foreign.filter(({ target }) => !OWNERS.some((owner) => owner.package.test(target)))), []);
});

/** The first way around, or undefined. */
function cycle(graph: ReadonlyMap<string, ReadonlySet<string>>): string[] | undefined {
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(name)) return [...path.slice(path.indexOf(name)), name];
    if (done.has(name)) return undefined;
    done.add(name);
    for (const next of graph.get(name) ?? []) {
      const found = visit(next, [...path, name]);
      if (found) return found;
    }
    return undefined;
  };
  for (const name of graph.keys()) {
    const found = visit(name, []);
    if (found) return found;
  }
  return undefined;
}

function graphOf(edges: readonly (readonly [string, string])[]): Map<string, Set<string>> {
  const graph = new Map<string, Set<string>>();
  for (const [from, to] of edges) if (from !== to) graph.set(from, (graph.get(from) ?? new Set()).add(to));
  return graph;
}

test('no folder imports itself by way of others', (t) => {
  t.deepEqual(
    cycle(
      graphOf([
        ['a', 'b'],
        ['b', 'c'],
        ['c', 'a'],
      ]),
    ),
    ['a', 'b', 'c', 'a'],
  );
  t.is(cycle(graphOf(own.map((entry) => [area(entry.from), area(resolved(entry))]))), undefined);
});

test('no file imports itself by way of others, but for types', (t) => {
  const typeOnly = /(?:import|export)\s+type\s[^;]*?from\s*['"]([^'"]+)['"]/g;
  const edges = files.flatMap((file) => {
    const source = (text.get(file) ?? '').replace(typeOnly, '');
    return importsOf(file, source)
      .filter(({ target }) => target.startsWith('.'))
      .map((entry) => [file, resolved(entry)] as const);
  });
  t.is(cycle(graphOf(edges)), undefined);
});

test('nothing is exported as default, and no file only passes on what others export', (t) => {
  t.deepEqual(
    files.filter((file) => /^export default\b|\bas default\b/m.test(text.get(file) ?? '')),
    [],
  );
  t.deepEqual(
    files.filter((file) => /^export \* from/m.test(text.get(file) ?? '')),
    [],
  );
});

const LINES = 300;
/** Longer than that, and why. */
const LONG: Readonly<Record<string, string>> = {
  'src/maps/layout.ts': 'generated',
};

test(`no file has more than ${LINES} lines`, (t) => {
  const long = files.filter((file) => (text.get(file) ?? '').split('\n').length > LINES + 1);
  t.deepEqual(
    long
      .filter((file) => !(file in LONG))
      .map((file) => `${file}: ${(text.get(file) ?? '').split('\n').length - 1} lines`),
    [],
  );
});
