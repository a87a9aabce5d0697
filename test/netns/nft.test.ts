/** The table `weir` in nftables itself: what was written is what is read, and changes are differences. */
import test from 'ava';
import { plan, type Row, toRows } from '../../src/core/plan.js';
import { parseTable } from '../../src/ipvs/nft.js';
import { tableChanges, versionSet, wholeTable } from '../../src/ipvs/ruleset.js';
import { run } from './world.js';
import { execFileSync } from 'node:child_process';

const OPTIONS = { segment: { 4: 1440, 6: 1400 }, masqueradeAll: false };
const row = (table: string, key: string, value = ''): Row => ({ table, key, value });
const ROWS = toRows([
  row('vips4', '10.96.0.10'),
  row('vips6', 'fd00:96::10'),
  row('local4', '10.244.1.10'),
  row('hairpin6', 'fd00:244:1::a . fd00:244:1::a'),
  row('services4', '10.96.0.10 . tcp . 80'),
  row('services6', 'fd00:96::10 . sctp . 36412'),
  row('outside4', '10.0.0.1 . tcp . 30080', '1459617793'),
  row('inside6', 'fd00::1 . udp . 30053', '1459617794'),
  row('tunnelled4', '192.0.2.80 . tcp . 80', '1459617795'),
  row('restricted4', '192.0.2.80 . tcp . 80'),
  row('admitted_tcp4', '192.0.2.80 . 80 . 10.0.0.0/8'),
  row('admitted_tcp4', '192.0.2.80 . 80 . 192.168.1.7'),
  row('admitted_tcp6', '2001:db8::80 . 80 . fd00:7::/64'),
  row('dsr6', '2001:db8::80 . tcp . 80'),
  row('refused_outside4', '10.96.0.11 . tcp . 80', 'drop'),
  row('refused_inside4', '10.96.0.11 . tcp . 80', 'goto refuse'),
  row('tunnel_sources4', '10.0.0.2'),
  row('tunnel_sources6', 'fd00:7::/64'),
  row('inside_devices', 'lo'),
  row('bridges', 'cni0'),
  row('node_ports4', 'tcp . 30080', '1459617800'),
  row('dsr_node_ports6', 'tcp . 30080'),
  row('cluster4', '10.244.0.0/16'),
  row('cluster6', '::/0'),
]);

test('rows of every set and map are read back as they were written, and changed one by one', (t) => {
  const space = `nft-${process.pid}`;
  run('ip', 'netns', 'add', space);
  t.teardown(() => run('ip', 'netns', 'del', space));
  const nft = (args: readonly string[], input = ''): string =>
    execFileSync('ip', ['netns', 'exec', space, '/usr/sbin/nft', ...args], { encoding: 'utf8', input });
  const read = () => parseTable(nft(['-j', 'list', 'table', 'inet', 'weir']));

  nft(['-f', '-'], wholeTable(ROWS, OPTIONS));
  t.deepEqual(plan(read().rows, ROWS, {}), []);
  t.true(read().names.has(versionSet(OPTIONS)));

  const next = toRows([
    ...[...ROWS.values()].filter(({ table }) => table !== 'vips4' && table !== 'outside4'),
    row('outside4', '10.0.0.1 . tcp . 30080', '1459617799'),
    row('refused_outside6', 'fd00:96::11 . tcp . 80', 'goto refuse'),
  ]);
  nft(['-f', '-'], tableChanges(plan(ROWS, next, {})));
  t.deepEqual(plan(read().rows, next, {}), []);

  nft(['-f', '-'], wholeTable(ROWS, OPTIONS));
  t.deepEqual(plan(read().rows, ROWS, {}), [], 'the whole again, in place of what is there');
  t.not(
    versionSet(OPTIONS),
    versionSet({ ...OPTIONS, segment: { 4: 1400, 6: 1360 } }),
    'other chains are another version',
  );
});
