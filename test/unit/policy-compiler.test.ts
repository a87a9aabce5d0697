import test from 'ava';
import type { Resource } from '../../src/core/model.js';
import { ANYONE, type PolicyEntry, type PolicyState, UNMATCHED } from '../../src/core/policy/state.js';
import { compilePolicy, PolicyCompiler } from '../../src/core/policy/compiler.js';
import { portPrefixes } from '../../src/core/policy/ports.js';
import { ip } from '../helpers/model.js';
import {
  app,
  block,
  http,
  namespace,
  objectsOf,
  pod,
  policy,
  remove,
  rule,
  set,
  tcp,
} from '../helpers/policy-model.js';

const OPTIONS = { nodeName: 'node-1', denyAction: 'drop' } as const;
const compile = (...resources: Resource[]): PolicyState => compilePolicy(objectsOf(...resources), OPTIONS);
const web = pod('web', '10.1.0.1');
const api = pod('api', '10.1.0.2');
const fromApi = rule({ peers: [{ kind: 'pods', pods: app('api') }], ports: [tcp(80)] });

/** `class protocol/port/bits rule` of each entry of the only set, sorted. */
function entries(state: PolicyState): string[] {
  const all = [...state.sets.values()].flatMap((each) => each.entries);
  return all.map(entryText).sort();
}

function entryText({ class: name, protocol, port, bits, rule: text }: PolicyEntry): string {
  return `${name || 'anyone'} ${protocol}/${port}/${bits} ${text.replace('NetworkPolicy shop/', '')}`;
}

test('a pod that may be reached from one other: its set, the class of the other, and nothing else', (t) => {
  const state = compile(web, api, policy('p', { podSelector: app('web'), ingress: [fromApi] }));
  t.deepEqual([...state.classes], [['10.1.0.2/32', 'shop/{app=api}']]);
  t.deepEqual(
    [...state.sets],
    [
      [
        'ingress shop/p',
        {
          direction: 'ingress',
          policies: ['shop/p'],
          action: 'drop',
          entries: [
            { class: 'shop/{app=api}', protocol: 'TCP', port: 80, bits: 16, rule: 'NetworkPolicy shop/p ingress[0]' },
          ],
        },
      ],
    ],
  );
  t.deepEqual(
    [...state.subjects],
    [
      [ip('10.1.0.1'), { pod: 'shop/web', ingress: 'ingress shop/p' }],
      [ip('10.1.0.2'), { pod: 'shop/api' }],
    ],
  );
  t.is(state.pods.get(ip('10.1.0.2')), 'shop/api');
});

test('a policy that selects no pod of this node leaves no trace', (t) => {
  const state = compile(
    { ...web, nodeName: 'node-2' },
    api,
    policy('p', { podSelector: app('web'), ingress: [fromApi] }),
  );
  t.deepEqual([state.classes.size, state.sets.size, [...state.subjects.keys()]], [0, 0, [ip('10.1.0.2')]]);
  t.is(state.pods.size, 2);
});

test('a pod of no node yet is no subject', (t) => {
  t.is(compilePolicy(objectsOf({ ...web, nodeName: '' }), { ...OPTIONS, nodeName: '' }).subjects.size, 0);
});

test('the pods of one Deployment share a set, and have one each where a named port differs', (t) => {
  const named = policy('p', { ingress: [rule({ ports: [{ protocol: 'TCP', name: 'http' }] })] });
  const alike = compile(web, api, named);
  t.deepEqual([...alike.sets.keys()], ['ingress shop/p']);
  t.deepEqual(entries(alike), []);
  const differing = compile({ ...web, ports: http(80) }, { ...api, ports: http(8080) }, named);
  t.deepEqual([...differing.sets.keys()].sort(), ['ingress shop/p http/TCP=80', 'ingress shop/p http/TCP=8080']);
  t.deepEqual(entries(differing), ['anyone TCP/80/16 p ingress[0]', 'anyone TCP/8080/16 p ingress[0]']);
});

test('a named port of an egress rule is what the peer calls so, and is part of its class', (t) => {
  const peers = [{ kind: 'pods', pods: [] } as const];
  const named = policy('p', { egress: [rule({ peers, ports: [{ protocol: 'TCP', name: 'http' }] })] });
  const state = compile({ ...web, ports: http(80) }, { ...api, ports: http(81), nodeName: 'node-2' }, named);
  t.deepEqual(entries(state), [
    'shop/{} :http/TCP=80 TCP/80/16 p egress[0]',
    'shop/{} :http/TCP=81 TCP/81/16 p egress[0]',
  ]);
});

test('whatever its peers, a rule without ports allows every protocol, and without peers anyone', (t) => {
  t.deepEqual(entries(compile(web, policy('p', { ingress: [rule()] }))), ['anyone any/0/0 p ingress[0]']);
  t.deepEqual(entries(compile(web, policy('p', { ingress: [] }))), []);
  const sctp = policy('p', { ingress: [rule({ ports: [{ protocol: 'SCTP' }] })] });
  t.deepEqual(entries(compile(web, sctp)), ['anyone SCTP/0/0 p ingress[0]']);
});

test('of two rules that allow the same the first is named', (t) => {
  const twice = policy('b', { ingress: [rule(), rule({ ports: [tcp(80)] })] });
  t.deepEqual(entries(compile(web, twice, policy('a', { ingress: [rule({ ports: [tcp(80)] })] }))), [
    'anyone TCP/80/16 a ingress[0]',
    'anyone any/0/0 b ingress[0]',
  ]);
});

test('the addresses within an except have a row that matches nothing', (t) => {
  const state = compile(web, policy('p', { egress: [rule({ peers: [block('10.0.0.0/8', '10.2.0.0/16')] })] }));
  const name = '10.0.0.0/8 -10.2.0.0/16';
  t.deepEqual(
    [...state.classes],
    [
      ['10.0.0.0/8', name],
      ['10.2.0.0/16', UNMATCHED],
    ],
  );
  t.deepEqual(entries(state), [`${name} any/0/0 p egress[0]`]);
});

test('a pod within a block has a row only where something else matches it, too, and then has both', (t) => {
  const peers = [block('10.0.0.0/8'), { kind: 'pods', pods: app('api') } as const];
  const state = compile(web, api, policy('p', { podSelector: app('web'), ingress: [rule({ peers })] }));
  t.deepEqual([...state.classes].sort(), [
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['10.1.0.2/32', '10.0.0.0/8; shop/{app=api}'],
  ]);
});

test('everything of IPv6 is nothing of IPv4, in one table of both too', (t) => {
  const state = compile(web, policy('p', { egress: [rule({ peers: [block('::/0')] })] }));
  t.deepEqual(
    [...state.classes],
    [
      ['::/0', '::/0'],
      ['0.0.0.0/0', UNMATCHED],
    ],
  );
});

test('pods on the network of their host and finished pods are neither subjects nor peers', (t) => {
  const everyone = policy('p', { ingress: [rule({ peers: [{ kind: 'pods', namespaces: [] }] })] });
  const gone = { ...pod('old', '10.1.0.3'), finished: true };
  const state = compile(web, { ...api, hostNetwork: true }, gone, everyone);
  t.deepEqual([...state.subjects.keys()], [ip('10.1.0.1')]);
  t.deepEqual([...state.classes.keys()], ['10.1.0.1/32']);
});

test('an address belongs to the younger of two pods, and to the other once that is finished', (t) => {
  const objects = objectsOf(pod('old', '10.1.0.1', { created: 1 }), pod('new', '10.1.0.1', { created: 2 }));
  const compiler = new PolicyCompiler(objects, OPTIONS);
  compiler.update();
  t.is(compiler.state.subjects.get(ip('10.1.0.1'))?.pod, 'shop/new');
  objects.apply(set(pod('new', '10.1.0.1', { created: 2, finished: true })));
  compiler.update();
  t.is(compiler.state.subjects.get(ip('10.1.0.1'))?.pod, 'shop/old');
});

test('audited policies are in the sets beside those in force, and nowhere else', (t) => {
  const enforced = policy('a', { ingress: [fromApi] });
  const audited = policy('b', { ingress: [rule()], egress: [], mode: 'audit' });
  const state = compile(web, enforced, audited);
  t.deepEqual(state.subjects.get(ip('10.1.0.1')), {
    pod: 'shop/web',
    ingress: 'ingress shop/a',
    auditIngress: 'ingress shop/a,shop/b',
    auditEgress: 'egress shop/b',
  });
  t.deepEqual(state.sets.get('egress shop/b')?.entries, []);
});

test('what becomes of denied traffic: the policies say, else the namespace, else the flag; drop beats reject', (t) => {
  const action = (denied: ('drop' | 'reject' | undefined)[], inNamespace?: 'reject'): unknown => {
    const policies = denied.map((denyAction, i) =>
      policy(`p${i}`, { ingress: [], ...(denyAction ? { denyAction } : {}) }),
    );
    const shop = namespace('shop', {}, inNamespace ? { denyAction: inNamespace } : {});
    return [...compile(web, shop, ...policies).sets.values()][0]?.action;
  };
  t.is(action([undefined]), 'drop');
  t.is(action([undefined], 'reject'), 'reject');
  t.is(action([undefined, 'drop'], 'reject'), 'drop');
  t.is(action(['reject', undefined]), 'reject');
  t.is(action(['reject', 'drop']), 'drop');
});

test('a set that an update does not concern stays the same object', (t) => {
  const objects = objectsOf(web, api, policy('p', { podSelector: app('web'), ingress: [fromApi] }));
  objects.apply(set(policy('q', { podSelector: app('api'), ingress: [rule()] })));
  const compiler = new PolicyCompiler(objects, OPTIONS);
  compiler.update();
  const before = new Map(compiler.state.sets);
  objects.apply(set(policy('q', { podSelector: app('api'), ingress: [] })));
  const delta = compiler.update();
  t.deepEqual([...delta.sets.keys()], ['ingress shop/q']);
  t.deepEqual([delta.classes.size, delta.subjects.size, delta.pods.size], [0, 0, 0]);
  t.is(compiler.state.sets.get('ingress shop/p'), before.get('ingress shop/p'));
  objects.apply(set(namespace('shop', { team: 'a' })));
  t.deepEqual(
    Object.values(compiler.update()).map((table: ReadonlyMap<unknown, unknown>) => table.size),
    [0, 0, 0, 0],
  );
});

test('a pod with new labels changes its own row and no set where its class is known', (t) => {
  const other = pod('other', '10.1.0.3', { labels: { app: 'api' } });
  const objects = objectsOf(web, api, other, policy('p', { podSelector: app('web'), ingress: [fromApi] }));
  const compiler = new PolicyCompiler(objects, OPTIONS);
  compiler.update();
  objects.apply(set({ ...other, labels: { app: 'none' } }));
  const { classes, sets, subjects } = compiler.update();
  t.deepEqual([...classes], [['10.1.0.3/32', { before: 'shop/{app=api}', after: undefined }]]);
  t.deepEqual([sets.size, subjects.size], [0, 0]);
});

test('a policy that goes takes its sets and classes along', (t) => {
  const objects = objectsOf(web, api, policy('p', { podSelector: app('web'), ingress: [fromApi] }));
  const compiler = new PolicyCompiler(objects, OPTIONS);
  compiler.update();
  objects.apply(remove('NetworkPolicy', 'p'));
  const delta = compiler.update();
  t.deepEqual([compiler.state.classes.size, compiler.state.sets.size], [0, 0]);
  t.deepEqual(
    [...delta.sets.values()].map((one) => one.after),
    [undefined],
  );
  t.deepEqual(compiler.state.subjects.get(ip('10.1.0.1')), { pod: 'shop/web' });
});

test('a namespace that nobody has told about has the label of its name', (t) => {
  const named = [{ key: 'kubernetes.io/metadata.name', operator: 'In', values: ['shop'] }] as const;
  const state = compile(web, api, policy('p', { ingress: [rule({ peers: [{ kind: 'pods', namespaces: named }] })] }));
  t.is(state.classes.size, 2);
  t.is([...state.sets.values()][0]?.entries[0]?.class === ANYONE, false);
});

test('ranges of ports are covered by the fewest prefixes', (t) => {
  const text = (first: number, last: number): string =>
    portPrefixes(first, last)
      .map(({ port, bits }) => `${port}/${bits}`)
      .join(' ');
  t.is(text(80, 80), '80/16');
  t.is(text(8080, 8090), '8080/13 8088/15 8090/16');
  t.is(text(0, 65535), '0/0');
  t.is(text(65535, 65535), '65535/16');
  t.is(portPrefixes(1, 65534).length, 30);
});
