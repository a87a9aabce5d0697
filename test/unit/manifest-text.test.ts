import test from 'ava';
import fc from 'fast-check';
import { parseDocument, stringify } from 'yaml';
import { mergeFiles, readManifest, type FileContent } from '../../src/watch/manifest-file.js';
import { decodeDocument, pathSteps, splitDocuments } from '../../src/watch/manifest-text.js';
import { parsePlainYaml } from '../../src/watch/yaml-plain.js';
import { rawService } from '../helpers/samples.js';

function contentOf(name: string, text: string, before?: FileContent): FileContent {
  const reading = readManifest(name, text, before);
  if ('broken' in reading) throw new Error(`${reading.broken.object}: ${reading.broken.message}`);
  return reading;
}

const valid = fc.constantFrom('kind', 'metadata', 'name', 'spec', 'ports', 'a/b.c', 'x-y', 'null', '12', 'a b');
const words = fc.constantFrom(
  '10.0.0.1',
  '1.5',
  '1e3',
  '0x10',
  '0o7',
  '010',
  '::1',
  'fd00::1',
  'a: b',
  'a #b',
  'yes',
  '~',
  '.inf',
  '-',
  '- a',
  '+1',
  '1_000',
  '12:30',
  '|',
  'one\ntwo\n',
  '1.',
  '1.2.3',
  '10.0.0.0/8',
  '8080/tcp',
  '1e',
  '5e-3',
  '100m',
  '<<',
  'a:',
  '-1',
  '2025-01-31T12:00:00Z',
  "it's",
  '"',
  '',
);
const scalars = fc.oneof(
  words,
  fc.string({ maxLength: 12 }),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.boolean(),
  fc.constant(null),
);
const { tree } = fc.letrec((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4 },
    scalars,
    fc.array(tie('tree'), { maxLength: 4 }),
    fc.dictionary(valid, tie('tree'), { maxKeys: 4 }),
  ),
}));

test('the plain reader and the full parser read the same from whatever the serializer writes', (t) => {
  let plain = 0;
  fc.assert(
    fc.property(fc.dictionary(valid, tree, { maxKeys: 4 }), fc.boolean(), (value, indentSeq) => {
      const text = stringify(value, { indentSeq });
      const read = parsePlainYaml(text);
      if (!read) return;
      plain++;
      t.deepEqual(read.value, parseDocument(text).toJS());
    }),
    { numRuns: 2000 },
  );
  t.true(plain > 100, `only ${plain} documents were plain`);
});

test('the plain reader accepts nothing that the full parser refuses or reads differently', (t) => {
  const line = fc.constantFrom(
    'a: 1',
    'b:',
    '- x',
    '-',
    '- a: 1',
    '  c: 2',
    '  - y',
    '    d: |',
    '      text',
    '# c',
    '',
    '  b: "q"',
    "  e: 'it''s'",
    'a: b',
    'x',
    '  z: 1.2.3',
    '- - 1',
    '  -',
    'a:   ',
    '\t',
    '  "q": 1',
    'k: >',
    'k: [1]',
    'b: {}',
    '   odd: 1',
    '- |',
    '  lit',
    '    lit2',
    '-   wide: 1',
    '    wide2: 2',
    '...',
    'k: a #c',
    'n: 0.10',
    'n: -0',
    'n: 007',
    'a: &x 1',
    'b: *x',
    'c: !t 1',
    '? a',
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 7 }), (lines) => {
      const text = lines.join('\n');
      const read = parsePlainYaml(text);
      if (!read) return;
      const full = parseDocument(text);
      t.deepEqual(full.errors, []);
      t.deepEqual(read.value, full.toJS());
    }),
    { numRuns: 5000 },
  );
});

test('what kubectl prints is read by the plain reader', (t) => {
  const text = [
    'apiVersion: v1',
    'items:',
    '- apiVersion: v1',
    '  kind: Service',
    '  metadata:',
    '    annotations:',
    '      kubectl.kubernetes.io/last-applied-configuration: |',
    '        {"apiVersion":"v1","kind":"Service"}',
    '    creationTimestamp: "2025-01-31T12:00:00Z"',
    '    name: web',
    '  spec:',
    '    clusterIPs:',
    '    - 10.96.0.1',
    '    - fd00::1',
    '    ports:',
    '    - port: 80',
    '      targetPort: http',
    '  status:',
    '    loadBalancer: {}',
    'kind: List',
    'metadata:',
    '  resourceVersion: ""',
    '',
  ].join('\n');
  t.deepEqual(parsePlainYaml(text)?.value, parseDocument(text).toJS());
});

test('the documents of a file are found with their first lines', (t) => {
  const lines = (name: string, text: string): number[] => splitDocuments(name, text).map((document) => document.line);
  t.deepEqual(lines('a.yaml', '# only a comment\n---\na: 1\n---\n---\nb: 2\n'), [2, 5]);
  t.deepEqual(lines('a.yaml', '%YAML 1.2\n---\na: 1\n'), [2]);
  t.deepEqual(lines('a.yaml', ''), []);
  t.deepEqual(lines('a.json', '\ufeff{"a": "---"}'), [1]);
});

const broken: readonly { name: string; file: string; text: string; at: string }[] = [
  { name: 'YAML in the second document', file: 'a.yaml', text: 'a: 1\n---\nb: {\nc: 1\n', at: 'a.yaml:4' },
  { name: 'YAML with a tab', file: 'a.yaml', text: 'a:\n\tb: 1\n', at: 'a.yaml:2' },
  { name: 'YAML with an unknown alias', file: 'a.yaml', text: 'a: *x\n', at: 'a.yaml:1' },
  { name: 'JSON with a missing brace', file: 'a.json', text: '{\n"a": {\n"b": 1\n}\n', at: 'a.json:4' },
  { name: 'JSON with a stray comma', file: 'a.json', text: '{\n"a": 1,\n}', at: 'a.json:3' },
];
for (const { name, file, text, at } of broken) {
  test(`${name} is reported at its line in the file`, (t) => {
    const reading = readManifest(file, text);
    t.true('broken' in reading);
    if ('broken' in reading) t.is(reading.broken.object, at);
  });
}

test('an invalid object inside a JSON list is reported at the line of its field', (t) => {
  const text = JSON.stringify(
    { kind: 'List', items: [rawService('a', 1), rawService('b', 2, { ports: [{ port: 0 }] })] },
    null,
    1,
  );
  const line = text.split('\n').findIndex((each) => each.includes('"port": 0')) + 1;
  t.regex(contentOf('a.json', text).problems[0]?.message ?? '', new RegExp(`\\(a\\.json:${line}\\)$`));
});

test('a document that did not change is not read again', (t) => {
  const documents = [1, 2, 3].map((last) => stringify(rawService(`s${last}`, last)));
  const before = contentOf('a.yaml', documents.join('---\n'));
  const after = contentOf('a.yaml', [`# moved\n${documents[0]}`, ...documents.slice(1)].join('---\n'), before);
  t.is(after.entries[2]?.resource, before.entries[2]?.resource);
  t.is(after.entries.length, 3);
});

test('the order of files decides between two versions, whether or not the first one is valid', (t) => {
  const bad = contentOf('a.yaml', stringify(rawService('web', 1, { ports: [] })));
  const good = contentOf('b.yaml', stringify(rawService('web', 2)));
  const merged = mergeFiles([bad, good]);
  t.deepEqual([...merged.desired], [['Service/shop/web', undefined]]);
  t.is(merged.problems.length, 2);
});

test('a field path leads to the same place that its text names', (t) => {
  t.deepEqual(pathSteps('spec.ports[0].port'), ['spec', 'ports', 0, 'port']);
  t.deepEqual(pathSteps('metadata.annotations["weir.io/a.b"]'), ['metadata', 'annotations', 'weir.io/a.b']);
  t.deepEqual(pathSteps(''), []);
});

test('a value that is decoded from YAML is the one that kubectl would send', (t) => {
  const [document] = splitDocuments('a.yaml', 'a: >\n  folded\n  text\nb: [1, {c: 010}]\n');
  t.deepEqual(document && decodeDocument('a.yaml', document), { value: { a: 'folded text\n', b: [1, { c: 10 }] } });
});
