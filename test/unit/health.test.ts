import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { Progress } from '../../src/agent/progress.js';
import { ailments, healthBody, PATIENCE, type Vitals } from '../../src/core/health.js';
import { serveHealth } from '../../src/host/health.js';
import { settled } from '../helpers/settled.js';

const WELL: Vitals = {
  synced: true,
  lastSync: Date.UTC(2026, 10, 21),
  failure: undefined,
  waitingSince: 0,
  faults: [],
  eligible: true,
};
const NOW = Date.UTC(2026, 10, 21, 1);

const CASES: readonly { what: string; vitals: Partial<Vitals>; sick: readonly string[] }[] = [
  { what: 'all is well', vitals: {}, sick: [] },
  { what: 'the source has not spoken yet', vitals: { synced: false }, sick: ['/healthz', '/readyz'] },
  { what: 'the last sync failed', vitals: { failure: 'no' }, sick: ['/healthz', '/livez', '/readyz'] },
  { what: 'a change waits', vitals: { waitingSince: NOW - PATIENCE }, sick: [] },
  {
    what: 'a change has waited too long',
    vitals: { waitingSince: NOW - PATIENCE - 1 },
    sick: ['/healthz', '/livez', '/readyz'],
  },
  { what: 'programs are gone', vitals: { faults: ['gone'] }, sick: ['/healthz', '/livez', '/readyz'] },
  { what: 'the node is about to leave', vitals: { eligible: false }, sick: ['/healthz'] },
];

for (const { what, vitals, sick } of CASES) {
  test(`health when ${what}`, (t) => {
    for (const path of ['/healthz', '/livez', '/readyz'] as const) {
      const found = ailments(path, { ...WELL, ...vitals }, NOW);
      t.is(found.length > 0, sick.includes(path), `${path}: ${found.join()}`);
    }
  });
}

test('the body has the names of kube-proxy', (t) => {
  t.deepEqual(healthBody('/healthz', { ...WELL, eligible: false }, NOW), {
    lastUpdated: '2026-11-21T00:00:00.000Z',
    currentTime: '2026-11-21T01:00:00.000Z',
    nodeEligible: false,
    synced: true,
    problems: ['the node is about to leave'],
  });
  const live = healthBody('/livez', { ...WELL, lastSync: 0 }, NOW);
  t.false('nodeEligible' in live);
  t.is(live['lastUpdated'], null);
});

test('a change waits from its arrival until everything is in the kernel', (t) => {
  const progress = new Progress();
  progress.changed(1000);
  t.is(progress.vitals(0, true).waitingSince, 0, 'before the source has spoken it is the source that is waited for');
  progress.complete();
  progress.changed(2000);
  t.is(progress.vitals(0, true).waitingSince, 1000);
  progress.failed(new Error('full'));
  t.is(progress.vitals(0, true).failure, 'full');
  t.true(progress.troubled);
  t.is(progress.succeeded(5000), 4000);
  t.is(progress.succeeded(6000), undefined, 'nothing has waited since');
  t.like(progress.vitals(0, true), { waitingSince: 0, failure: undefined });
  t.false(progress.troubled);
});

test('health is served by path and status, every answer is counted, and a taken port is waited for', async (t) => {
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
  const { port } = squatter.address() as AddressInfo;
  const failures: string[] = [];
  const answers: string[] = [];
  let vitals = WELL;
  const server = serveHealth(
    { address: '127.0.0.1', port },
    {
      vitals: () => vitals,
      answered: (path, status) => answers.push(`${path} ${status}`),
      failed: (reason) => failures.push(reason),
    },
  );
  t.teardown(() => server[Symbol.asyncDispose]());
  await settled('failure', () => failures.length === 1);
  t.regex(failures[0] ?? '', /^serve health: .*EADDRINUSE/);
  await new Promise((resolve) => squatter.close(resolve));
  const ask = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`);
  await settled('server', async () => (await ask('/').catch(() => undefined))?.status === 404);
  t.is((await ask('/healthz?verbose')).status, 200);
  vitals = { ...WELL, eligible: false };
  const response = await ask('/healthz');
  t.is(response.status, 503);
  t.is(response.headers.get('x-content-type-options'), 'nosniff');
  t.like(await response.json(), { nodeEligible: false });
  t.is((await ask('/livez')).status, 200);
  t.deepEqual(answers, ['/healthz 200', '/healthz 503', '/livez 200']);
  t.is(failures.length, 1);
});
