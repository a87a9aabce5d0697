import test from 'ava';
import { Generations, OwnTransactions } from '../../src/ipvs/generations.js';

const NEW_GENERATION = '# new generation 7 by process 25478 (nft)';

function tell(generations: Generations, now: number, ...lines: string[]): readonly (readonly string[])[] {
  return lines.map((line) => {
    const changed = generations.heard(line, now);
    return changed === 'all' ? ['all'] : [...changed];
  });
}

test('tables are named once their transaction is over, whatever it did to them', (t) => {
  const generations = new Generations(new OwnTransactions());
  const lines = [
    'add element inet weir external4 { 192.0.2.1 }',
    'delete element inet weir external4 { 192.0.2.2 }',
    'delete chain bridge weir-policy spoofs',
    'add rule ip6 other c tcp dport { 80, 443 } counter packets 0 bytes 0',
    'add table inet filter',
  ];
  t.deepEqual(tell(generations, 0, ...lines), [[], [], [], [], []]);
  t.deepEqual(tell(generations, 0, NEW_GENERATION), [['inet weir', 'bridge weir-policy', 'ip6 other', 'inet filter']]);
  t.deepEqual(tell(generations, 0, NEW_GENERATION), [[]], 'and not again');
});

test('what this process has done is nobody else’s, once for each transaction', (t) => {
  const ours = new OwnTransactions();
  const generations = new Generations(ours);
  const change = ['add element inet weir external4 { 192.0.2.1 }', NEW_GENERATION];
  ours.made('inet weir', 0);
  ours.made('inet weir', 100);
  ours.made('inet weir-policy', 100);
  t.deepEqual(tell(generations, 200, ...change, ...change, ...change), [[], [], [], [], [], ['inet weir']]);
});

test('one of ours that is not heard of within a second hides nothing after it', (t) => {
  const ours = new OwnTransactions();
  const generations = new Generations(ours);
  ours.made('inet weir', 0);
  t.deepEqual(tell(generations, 1001, 'delete table inet weir', NEW_GENERATION), [[], ['inet weir']]);
});

test('where the monitor has missed something every table may have changed', (t) => {
  const generations = new Generations(new OwnTransactions());
  t.is(generations.heard(undefined, 0), 'all');
  t.is(generations.heard('# ERROR: We lost some netlink events!', 0), 'all');
});
