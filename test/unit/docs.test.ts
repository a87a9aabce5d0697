/** What an operator may meet is written down: the lists in the code are the lists in the documents. */
import { existsSync, readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { Registry } from 'prom-client';
import { EVENT_REASONS } from '../../src/core/model.js';
import { REMEDIES } from '../../src/errors.js';
import { MAPS, REASON, REASON_TEXT } from '../../src/maps/layout.js';
import { KubeProxyMetrics } from '../../src/metrics/kube-proxy.js';
import { WeirMetrics } from '../../src/metrics/weir.js';

function document(t: ExecutionContext, path: string): string {
  if (!existsSync(path)) t.fail(`${path} does not exist`);
  return readFileSync(path, 'utf8');
}

/** Whether a name stands in the text as a word of its own. */
function names(text: string, name: string): boolean {
  return new RegExp(`(?<![\\w-])${name}(?![\\w-])`).test(text);
}

test('docs/operations.md has a line for every error code', (t) => {
  const lines = document(t, 'docs/operations.md').split('\n');
  t.deepEqual(
    Object.keys(REMEDIES).filter((code) => !lines.some((line) => names(line, code))),
    [],
    'codes without a line',
  );
});

test('docs/operations.md names no error code that does not exist', (t) => {
  const named = document(t, 'docs/operations.md').match(/\bWEIR_[A-Z_]+\b/g) ?? [];
  const settings = new Set(['WEIR_DEBUG']);
  t.deepEqual(
    [...new Set(named)].filter((code) => !(code in REMEDIES) && !settings.has(code)),
    [],
    'unknown codes',
  );
});

test('docs/operations.md has a line for every reason for which a packet is dropped', (t) => {
  const lines = document(t, 'docs/operations.md').split('\n');
  const reasons = Object.values(REASON_TEXT).map(({ name }) => name);
  t.is(reasons.length, Object.keys(REASON).filter((name) => name !== 'COUNT').length);
  t.deepEqual(
    reasons.filter((name) => !lines.some((line) => names(line, name))),
    [],
    'reasons without a line',
  );
});

test('docs/map-abi.md has a section for every map', (t) => {
  const headings = document(t, 'docs/map-abi.md')
    .split('\n')
    .filter((line) => line.startsWith('#'));
  t.deepEqual(
    Object.keys(MAPS).filter((name) => !headings.some((line) => names(line, name))),
    [],
    'maps without a section',
  );
});

test('docs/operations.md has a line for every metric, and names none that does not exist', (t) => {
  const text = document(t, 'docs/operations.md');
  const lines = text.split('\n').filter((line) => line.startsWith('|'));
  const registry = new Registry();
  new KubeProxyMetrics(registry, 0);
  const nothing = { reasons: [], maps: [], devices: [], generation: 0 };
  new WeirMetrics(
    registry,
    { version: '', dataplane: '' },
    () => nothing,
    () => 0,
  );
  const metrics = registry.getMetricsAsArray().map(({ name }) => name);
  t.true(metrics.length > 20);
  t.deepEqual(
    metrics.filter((name) => !lines.some((line) => names(line, name))),
    [],
    'metrics without a line',
  );
  const section = text.slice(text.indexOf('\n## Metrics'), text.indexOf('\n## Events'));
  const named = section.match(/\b(kubeproxy|weir|process)_[a-z_]+(?=[`{[ ])/g) ?? [];
  const known = [...Object.keys(MAPS), ...metrics, ...metrics.map((name) => `${name}_bucket`)];
  t.deepEqual(
    [...new Set(named)].filter((name) => !known.includes(name)),
    [],
    'metrics that do not exist',
  );
});

test('docs/operations.md has a line for every reason of an Event', (t) => {
  const lines = document(t, 'docs/operations.md').split('\n');
  t.deepEqual(
    EVENT_REASONS.filter((reason) => !lines.some((line) => line.startsWith('|') && names(line, reason))),
    [],
  );
});
