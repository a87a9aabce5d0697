import test from 'ava';
import { changedFields, differences, formatDifference } from '../../src/cli/difference.js';
import type { Describer } from '../../src/cli/describe.js';
import { printJson, printTable } from '../../src/cli/output.js';
import { formatServices, type ServiceRow } from '../../src/cli/service-table.js';
import { compareIp, kindName, parsePortLabel, schedulerName } from '../../src/cli/words.js';
import { parseIp } from '../../src/core/net.js';
import type { Write } from '../../src/core/plan.js';
import { collector } from './cli-context.js';

const ip = (text: string) => parseIp(text)!;

test('services are listed the way ipvsadm lists them', (t) => {
  const backend = {
    address: ip('fd00::5'),
    port: 8080,
    node: '',
    state: 'terminating',
    weight: 2,
    local: false,
    flows: 3,
  };
  const frontend = { kind: 'NodePort', address: ip('fd00::1'), port: 30080, protocol: 'TCP', portName: 'http' };
  const services: ServiceRow[] = [
    {
      namespace: 'shop',
      name: 'web',
      frontends: [{ ...frontend, scheduler: 'rr', forwarding: 'dsr', affinity: 60, backends: [backend] }],
    },
  ];
  const lines = [
    'TCP [fd00::1]:30080 NodePort shop/web:http rr dsr affinity 60s',
    '  -> [fd00::5]:8080 - terminating weight 2 flows 3',
    '',
  ];
  t.is(formatServices(services), lines.join('\n'));
  t.is(formatServices([]), 'no services\n');
});

test('columns of a table are as wide as their widest cell', async (t) => {
  const out = collector();
  await printTable(
    out,
    ['A', 'LONG', 'C'],
    [
      ['first', 'x', ''],
      ['1', 'y', 'end'],
    ],
  );
  t.is(out.text(), 'A      LONG  C\nfirst  x\n1      y     end\n');
});

test('JSON is one array whatever the number of rows', async (t) => {
  for (const count of [0, 1, 2, 999, 1000, 1001, 2500]) {
    const rows = Array.from({ length: count }, (_, i) => ({ i }));
    const out = collector();
    await printJson(out, rows);
    t.deepEqual(JSON.parse(out.text()), rows);
  }
});

test('numbers without a name are printed as numbers', (t) => {
  t.is(kindName(3), 'ExternalIP');
  t.is(kindName(9), '9');
  t.is(schedulerName(2), 'rr');
  t.is(schedulerName(77), '77');
});

test('the label of a service port is taken apart, also where the service is named like a port', (t) => {
  t.deepEqual(parsePortLabel('Service shop/web:http'), { namespace: 'shop', name: 'web', port: 'http' });
  t.deepEqual(parsePortLabel('Service shop/web:80'), { namespace: 'shop', name: 'web', port: '80' });
  t.is(parsePortLabel('Node node-1'), undefined);
});

test('addresses are in order of their numbers, IPv4 first', (t) => {
  const sorted = ['10.0.0.2', '10.0.0.10', '192.0.2.1', 'fd00::9', 'fd00::10'].map(ip);
  t.deepEqual([...sorted].reverse().sort(compareIp), sorted);
});

test('of two entries only the fields that differ are shown, and what is unknown on one side never', (t) => {
  const want = { scheduler: 'rr', device: '?', weight: 1 };
  const have = { scheduler: 'maglev', device: 'veth1', weight: 1 };
  t.deepEqual(changedFields(want, have), ['scheduler']);
  const shown = formatDifference({ table: 'weir_x', key: 'k', want, have });
  t.is(shown, 'weir_x k\n  want scheduler=rr\n  have scheduler=maglev\n');
  t.is(
    formatDifference({ table: 'weir_x', key: 'k', want: null, have: { a: 1 } }),
    'weir_x k\n  want nothing\n  have a=1\n',
  );
});

test('an entry that moves from one service to another is one difference', (t) => {
  const plain = { key: (row: { key: string }) => row.key, value: (row: { value: string }) => ({ value: row.value }) };
  const describer = plain as unknown as Describer;
  const row = (value: string) => ({ table: 'weir_frontends', key: 'k', value });
  const writes: Write[] = [
    { op: 'put', row: row('new'), before: undefined },
    { op: 'delete', row: row('old') },
  ];
  const expected = [{ table: 'weir_frontends', key: 'k', want: { value: 'new' }, have: { value: 'old' } }];
  t.deepEqual(differences(writes, describer), expected);
  t.deepEqual(differences([{ op: 'put', row: row('same'), before: row('same') }], describer), []);
});
