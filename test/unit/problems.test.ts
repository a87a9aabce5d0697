/** What is wrong is said once a change, whichever way it was found. */
import test from 'ava';
import { Reporter } from '../../src/agent/reporter.js';
import type { Problem } from '../../src/core/model.js';
import { ProblemLedger } from '../../src/core/problem-ledger.js';
import { Store } from '../../src/core/store.js';
import { ips, service, settings } from '../helpers/model.js';

const problem = (message: string): Problem => ({ object: 'Service shop/web', field: 'spec', message });

test('a problem is fresh when it begins and when it returns, not while it lasts', (t) => {
  const ledger = new ProblemLedger();
  const [one, two] = [problem('one'), problem('two')];
  t.deepEqual(ledger.judge('web', [one]), { fresh: [one], mended: false });
  t.deepEqual(ledger.judge('web', [one]), { fresh: [], mended: false });
  t.deepEqual(ledger.judge('web', [one, two]), { fresh: [two], mended: false }, 'what was said is not repeated');
  t.deepEqual(ledger.judge('api', [one]), { fresh: [one], mended: false }, 'objects do not mix');
  t.deepEqual(ledger.judge('web', [two]), { fresh: [], mended: false });
  t.deepEqual(ledger.judge('web', []), { fresh: [], mended: true });
  t.deepEqual(ledger.judge('web', []), { fresh: [], mended: false });
  t.deepEqual(ledger.judge('web', [two]), { fresh: [two], mended: false });
});

function shop(): { store: Store; lines: string[]; published: Problem[]; flush: () => void } {
  const store = new Store();
  const lines: string[] = [];
  const published: Problem[] = [];
  const reporter = new Reporter((level, message) => lines.push(`${level} ${message}`));
  reporter.publish = (found) => published.push(found);
  const flush = (): void => {
    const { desired, gone } = store.take(settings());
    reporter.judge(desired, gone);
  };
  return { store, lines, published, flush };
}

const web = (scheduler: string) =>
  service('web', {
    uid: 'uid-web',
    clusterIps: ips('10.96.0.1'),
    annotations: { 'weir.io/scheduler': scheduler },
  });

test('a setting that is not understood is said once, however often its service is compiled', (t) => {
  const { store, lines, published, flush } = shop();
  store.apply([{ op: 'set', resource: web('fastest') }]);
  flush();
  t.is(lines.length, 1);
  t.regex(lines[0] ?? '', /^warn Service shop\/web: .*'fastest'/);
  t.deepEqual(published[0]?.event, {
    about: { kind: 'Service', namespace: 'shop', name: 'web', uid: 'uid-web' },
    reason: 'InvalidSetting',
  });
  store.invalidate();
  flush();
  store.touch('shop/web');
  flush();
  t.is(lines.length, 1);
  store.apply([{ op: 'set', resource: web('rr') }]);
  flush();
  t.is(lines[1], 'info Service shop/web: no longer a problem');
  store.apply([{ op: 'set', resource: web('fastest') }]);
  flush();
  t.is(lines.length, 3);
  t.is(published.length, 2);
});

test('a service that is deleted with its problem and made again with it is named again', (t) => {
  const { store, lines, flush } = shop();
  for (let round = 0; round < 2; round++) {
    store.apply([{ op: 'set', resource: web('fastest') }]);
    flush();
    store.apply([{ op: 'delete', kind: 'Service', namespace: 'shop', name: 'web' }]);
    flush();
  }
  t.is(lines.filter((line) => line.startsWith('warn')).length, 2);
});

test('an address that two services claim is a problem of the younger one', (t) => {
  const { store, published, flush } = shop();
  const old = service('old', { created: 1, uid: 'uid-old', externalIps: ips('192.0.2.1') });
  const young = service('young', { created: 2, uid: 'uid-young', externalIps: ips('192.0.2.1') });
  store.apply([old, young].map((resource) => ({ op: 'set', resource })));
  flush();
  store.invalidate();
  flush();
  t.is(published.length, 1);
  t.like(published[0]?.event, { about: { uid: 'uid-young' }, reason: 'AddressConflict' });
});
