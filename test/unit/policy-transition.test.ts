/**
 * Policy changes write by write. After every single one, each pair of pod and peer is judged by the old policy or by the new
 * one: here by reading what is written as a dataplane does, against the two states it comes from and goes to.
 */
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { type Ip, parsePrefix, prefixContains, type Protocol } from '../../src/core/net.js';
import { type Installed, note, type Step } from '../../src/core/policy/installed.js';
import { ANYONE, type PolicyEntry, type PolicySet, type Subject } from '../../src/core/policy/state.js';
import { bitsOf } from '../../src/core/policy/prefixes.js';
import { type Memory, type Target, transition } from '../../src/core/policy/transition.js';

const ip = (text: string): Ip => text as Ip;
const PODS = [ip('10.0.0.1'), ip('10.0.0.2'), ip('10.0.0.3')];
const PEERS = [...PODS, ip('10.0.0.9'), ip('10.0.1.1'), ip('10.1.0.1'), ip('192.0.2.1')];
const PREFIXES = [
  ...PODS.map((pod) => `${pod}/32`),
  '10.0.0.9/32',
  '10.0.0.0/24',
  '10.0.0.0/16',
  '10.0.0.0/8',
  '0.0.0.0/0',
];
const PORTS: readonly (readonly [Protocol, number])[] = [
  ['TCP', 80],
  ['TCP', 81],
  ['UDP', 80],
];
const OWN = ['10.0.0.9/32'];

interface Desired extends Target {
  readonly own: ReadonlySet<string>;
}

function matches(entry: Pick<PolicyEntry, 'protocol' | 'port' | 'bits'>, protocol: Protocol, port: number): boolean {
  const same = entry.port >> (16 - entry.bits) === port >> (16 - entry.bits);
  return entry.protocol === 'any' || (entry.protocol === protocol && same);
}

/** Which prefixes hold a peer, the longest first. */
const HOLDING = new Map(
  PEERS.map((peer) => {
    const holding = PREFIXES.filter((text) => prefixContains(parsePrefix(text)!, peer));
    return [peer, holding.sort((a, b) => bitsOf(b) - bitsOf(a))] as const;
  }),
);

function longest<V>(table: ReadonlyMap<string, V>, peer: Ip): V | undefined {
  const found = HOLDING.get(peer)!.find((text) => table.has(text));
  return found === undefined ? undefined : table.get(found);
}

const QUESTIONS = PODS.flatMap((pod) =>
  PEERS.flatMap((peer) =>
    (['ingress', 'egress', 'auditIngress', 'auditEgress'] as const).flatMap((slot) =>
      PORTS.map(([protocol, port]) => ({ pod, peer, slot, protocol, port })),
    ),
  ),
);

/** Straight from the state. */
function desiredVerdicts({ classes, sets, subjects, own }: Desired): boolean[] {
  return QUESTIONS.map(({ pod, peer, slot, protocol, port }) => {
    const name = subjects.get(pod)?.[slot];
    if (name === undefined) return true;
    if (own.has(`${peer}/32`)) return true;
    const found = longest(classes, peer);
    return sets
      .get(name)!
      .entries.some((entry) => (entry.class === ANYONE || entry.class === found) && matches(entry, protocol, port));
  });
}

/** As the programs read the tables, masks included. */
function installedVerdicts({ classes, sets, endpoints }: Installed): boolean[] {
  return QUESTIONS.map(({ pod, peer, slot, protocol, port }) => {
    const id = endpoints.get(pod)?.[slot] ?? 0;
    const found = longest(classes, peer) ?? 0;
    if (id === 0 || found === 1) return true;
    const set = sets.get(id);
    if (!set) return false;
    const allows = (number: number, mask: number): boolean =>
      (set.rules.get(number)?.rules ?? []).some(
        (rule) => mask & (1 << (rule.protocol === 'any' ? 17 : rule.bits)) && matches(rule, protocol, port),
      );
    return allows(0, set.anyone) || (found !== 0 && allows(found, set.classed));
  });
}

const entry: fc.Arbitrary<PolicyEntry> = fc
  .record({
    class: fc.constantFrom(ANYONE, 'a', 'b', 'c'),
    protocol: fc.constantFrom<Protocol | 'any'>('TCP', 'UDP', 'any'),
    port: fc.constantFrom(80, 81),
    bits: fc.constantFrom(0, 15, 16),
    rule: fc.constantFrom('NetworkPolicy shop/x ingress[0]', 'NetworkPolicy shop/y ingress[1]'),
  })
  .map((one) => {
    const bits = one.protocol === 'any' ? 0 : one.bits;
    return { ...one, bits, port: bits === 0 ? 0 : one.port & (0xffff0000 >> bits) & 0xffff };
  });

const set: fc.Arbitrary<PolicySet> = fc.record({
  direction: fc.constant('ingress' as const),
  policies: fc.constantFrom(['shop/x'], ['shop/x', 'shop/y']),
  action: fc.constantFrom('drop' as const, 'reject' as const),
  entries: fc.uniqueArray(entry, {
    maxLength: 4,
    selector: (one) => `${one.class} ${one.protocol} ${one.port}/${one.bits}`,
  }),
});

const name = fc.option(fc.constantFrom('s', 't', 'u'), { nil: undefined, freq: 3 });
const subject: fc.Arbitrary<Subject> = fc
  .record({ ingress: name, egress: name, auditIngress: name })
  .map((sets) => ({ pod: 'shop/pod', ...JSON.parse(JSON.stringify(sets)) }) as Subject);

const desired: fc.Arbitrary<Desired> = fc.record({
  classes: fc
    .uniqueArray(fc.tuple(fc.constantFrom(...PREFIXES), fc.constantFrom('a', 'b', 'c', '-')), {
      selector: ([prefix]) => prefix,
    })
    .map((rows) => new Map(rows)),
  sets: fc.tuple(set, set, set).map(([s, t, u]) => new Map(Object.entries({ s, t, u }))),
  subjects: fc
    .uniqueArray(fc.tuple(fc.constantFrom(...PODS), subject), { selector: ([pod]) => pod })
    .map((rows) => new Map(rows)),
  own: fc.constantFrom(new Set<string>(), new Set(OWN)),
});

/** A dataplane without a kernel. */
class Lab {
  readonly installed: Installed = { classes: new Map(), sets: new Map(), endpoints: new Map() };
  memory: Memory = { classes: new Map(), sets: new Map() };
  #class = 2;
  #set = 1;

  plan(to: Desired): Step[] {
    const numbers = { class: () => this.#class++, set: () => this.#set++ };
    const { before, endpoints, after, memory } = transition(this.installed, to, to.own, this.memory, numbers);
    this.memory = memory;
    return [...before, ...endpoints, ...after];
  }

  forget(): void {
    this.memory = { classes: new Map(), sets: new Map() };
  }
}

/** Goes there, or as many steps of the way. Between two states nothing is judged as by neither. */
function go(t: ExecutionContext, lab: Lab, to: Desired, steps = Infinity): void {
  const before = installedVerdicts(lab.installed);
  const after = desiredVerdicts(to);
  for (const [index, step] of lab.plan(to).entries()) {
    if (index >= steps) return;
    note(lab.installed, step);
    installedVerdicts(lab.installed).forEach((verdict, i) => {
      if (verdict === before[i] || verdict === after[i]) return;
      throw new Error(`${JSON.stringify(QUESTIONS[i])} is ${verdict} after step ${index}, ${JSON.stringify(step)}`);
    });
  }
  t.deepEqual(installedVerdicts(lab.installed), after);
}

test('after every single write each pair is judged by the old policy or by the new one', (t) => {
  fc.assert(
    fc.property(fc.array(desired, { minLength: 2, maxLength: 4 }), (states) => {
      const lab = new Lab();
      for (const state of states) go(t, lab, state);
    }),
    { numRuns: 300 },
  );
  t.pass();
});

test('so it is after a crash between any two writes, whoever comes then and whatever is wanted by then', (t) => {
  fc.assert(
    fc.property(desired, desired, desired, fc.nat(30), (first, second, third, steps) => {
      const lab = new Lab();
      go(t, lab, first);
      go(t, lab, second, steps);
      lab.forget();
      go(t, lab, third);
    }),
    { numRuns: 300 },
  );
  t.pass();
});

test('a pod that comes to a kept set does not meet what that still says of a class that goes', (t) => {
  const empty: PolicySet = { direction: 'ingress', policies: ['shop/x'], action: 'drop', entries: [] };
  const rule = { protocol: 'TCP', port: 0, bits: 0, rule: 'NetworkPolicy shop/x ingress[0]' } as const;
  const sets = new Map([
    ['s', { ...empty, entries: [{ ...rule, class: 'a' }] }],
    ['t', empty],
  ]);
  const subjects = (name: string): Map<Ip, Subject> =>
    new Map([
      [PODS[2]!, { pod: 'shop/pod', ingress: name }],
      [PODS[1]!, { pod: 'shop/pod', auditIngress: 't' }],
    ]);
  const lab = new Lab();
  go(t, lab, { classes: new Map([['10.0.0.1/32', 'a']]), sets, subjects: subjects('s'), own: new Set() });
  lab.forget();
  go(t, lab, { classes: new Map(), sets, subjects: subjects('t'), own: new Set() });
});

test('nothing is written where nothing has changed, by the same agent or by the next', (t) => {
  fc.assert(
    fc.property(desired, desired, (first, second) => {
      const lab = new Lab();
      go(t, lab, first);
      go(t, lab, second);
      t.deepEqual(lab.plan(second), []);
      lab.forget();
      t.deepEqual(lab.plan(second), []);
    }),
    { numRuns: 100 },
  );
});

test('nothing is left behind: every number in use is reached from an endpoint or an address', (t) => {
  fc.assert(
    fc.property(desired, desired, (first, second) => {
      const lab = new Lab();
      go(t, lab, first);
      go(t, lab, second);
      const { classes, sets, endpoints } = lab.installed;
      const used = new Set([...endpoints.values()].flatMap((one) => [one.ingress, one.egress, one.auditIngress]));
      for (const [id, { rules }] of sets) {
        t.true(used.has(id));
        for (const number of rules.keys()) t.true(number === 0 || [...classes.values()].includes(number));
      }
    }),
    { numRuns: 100 },
  );
});

const RULE = { protocol: 'TCP', port: 80, bits: 16, rule: 'NetworkPolicy shop/x ingress[0]' } as const;
const ONE_SET: PolicySet = {
  direction: 'ingress',
  policies: ['shop/x'],
  action: 'drop',
  entries: [{ class: 'a', ...RULE }],
};
const base = (classes: Record<string, string>, own: readonly string[] = []): Desired => ({
  classes: new Map(Object.entries(classes)),
  sets: new Map([['s', ONE_SET]]),
  subjects: new Map([[PODS[0]!, { pod: 'shop/pod', ingress: 's' }]]),
  own: new Set(own),
});

test('a pod that comes is one write where its class is known, and so is one that goes', (t) => {
  const lab = new Lab();
  go(t, lab, base({ '10.0.0.2/32': 'a', '10.0.0.0/8': 'b' }));
  const came = base({ '10.0.0.2/32': 'a', '10.0.0.3/32': 'a', '10.0.0.0/8': 'b' });
  const plan = lab.plan(came);
  t.is(plan.length, 1);
  t.like(plan[0], { do: 'class', prefix: '10.0.0.3/32', class: lab.installed.classes.get('10.0.0.2/32') });
  go(t, lab, came);
  t.deepEqual(lab.plan(base({ '10.0.0.2/32': 'a', '10.0.0.0/8': 'b' })), [{ do: 'unclass', prefix: '10.0.0.3/32' }]);
});

test('classes that only change their names keep their numbers: no address and no rule is written', (t) => {
  const lab = new Lab();
  go(t, lab, base({ '10.0.0.2/32': 'a', '10.0.0.3/32': 'a' }));
  const renamed = base({ '10.0.0.2/32': 'a+x', '10.0.0.3/32': 'a+x' });
  const sets = new Map([['s', { ...ONE_SET, entries: [{ class: 'a+x', ...RULE }] }]]);
  t.deepEqual(lab.plan({ ...renamed, sets }), []);
});

test("an address that becomes the node's own is exempt, and loses that with the address", (t) => {
  const lab = new Lab();
  go(t, lab, base({ '10.0.0.0/8': 'b' }));
  go(t, lab, base({ '10.0.0.0/8': 'b' }, ['10.0.0.9/32']));
  t.is(lab.installed.classes.get('10.0.0.9/32'), 1);
  go(t, lab, base({ '10.0.0.0/8': 'b' }));
  t.false(lab.installed.classes.has('10.0.0.9/32'));
});

test('the most specific prefix is written first', (t) => {
  const lab = new Lab();
  const plan = lab.plan(base({ '0.0.0.0/0': 'a', '10.0.0.0/8': 'b', '10.0.0.2/32': 'a' }));
  const prefixes = plan.flatMap((step) => (step.do === 'class' ? [step.prefix] : []));
  t.deepEqual(prefixes, ['10.0.0.2/32', '10.0.0.0/8', '0.0.0.0/0']);
});
