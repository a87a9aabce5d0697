/** The compiler against the specification, on random clusters whose labels, addresses and ports collide on purpose. */
import test from 'ava';
import fc from 'fast-check';
import type {
  Change,
  ContainerPort,
  Labels,
  Namespace,
  NetworkPolicy,
  Pod,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
  Requirement,
} from '../../src/core/model.js';
import { familyOf, type Ip, mappedBits, parsePrefix, type Prefix, prefixContains } from '../../src/core/net.js';
import { compilePolicy, PolicyCompiler } from '../../src/core/policy/compiler.js';
import { type Cluster, judgeSide, type Party, type Target } from '../../src/core/policy/evaluate.js';
import { PolicyObjects } from '../../src/core/policy/objects.js';
import { DIRECTIONS, type PolicyState, type Subject } from '../../src/core/policy/state.js';
import type { Delta } from '../../src/core/policy/tracked.js';
import { ips } from '../helpers/model.js';
import { Judge } from '../helpers/policy-judge.js';

const RUNS = 10_000;
const OPTIONS = { nodeName: 'here', denyAction: 'drop' } as const;
const NAMESPACES = ['n0', 'n1'];
const INSIDE = ips('10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.5', 'fd00::1', 'fd00::2', 'fd00::5');
const OUTSIDE = ips('192.0.2.1', '10.9.9.9', '2001:db8::1', '0.0.0.0', '255.255.255.255', '::');
const TARGETS: readonly Target[] = [
  { protocol: 'TCP', port: 80 },
  { protocol: 'TCP', port: 81 },
  { protocol: 'UDP', port: 80 },
  { protocol: 'SCTP', port: 1000 },
];
const BLOCKS = [
  ...['0.0.0.0/0', '10.0.0.0/8', '10.0.0.0/30', '10.0.0.2/31', '10.0.0.2/32', '10.0.0.4/30', '192.0.2.0/24'],
  ...['255.0.0.0/8', '::/0', '::/8', 'fd00::/16', 'fd00::/126', 'fd00::2/127', 'fd00::5/128', 'ffff::/16'],
].map((text) => parsePrefix(text)!);

const pick = fc.constantFrom;
const labels: fc.Arbitrary<Labels> = fc.record({ app: pick('a', 'b'), tier: pick('a', 'b') }, { requiredKeys: [] });
const requirement: fc.Arbitrary<Requirement> = fc.oneof(
  fc.record({ key: pick('app', 'tier'), operator: pick('In', 'NotIn'), values: pick(['a'], ['b'], ['a', 'b']) }),
  fc.record({ key: pick('app', 'tier'), operator: pick('Exists', 'DoesNotExist'), values: fc.constant([]) }),
);
const selector = fc.array(requirement, { maxLength: 2, size: 'max' });
const port: fc.Arbitrary<PolicyPort> = fc.oneof(
  fc.record({ protocol: pick('TCP', 'UDP', 'SCTP') }),
  fc.record({
    protocol: pick('TCP', 'UDP', 'SCTP'),
    range: pick<[number, number][]>([80, 80], [81, 81], [79, 90], [1, 65535], [81, 1000]),
  }),
  fc.record({ protocol: pick('TCP', 'UDP'), name: pick('http', 'dns') }),
);

function inside(cidr: Prefix): Prefix[] {
  return BLOCKS.filter((each) => mappedBits(each) > mappedBits(cidr) && prefixContains(cidr, each.address));
}

const block: fc.Arbitrary<PolicyPeer> = pick(...BLOCKS).chain((cidr) =>
  fc.record({
    kind: fc.constant('block'),
    cidr: fc.constant(cidr),
    except: fc.subarray(inside(cidr)).map((list) => list.slice(0, 2)),
  }),
);
const peer: fc.Arbitrary<PolicyPeer> = fc.oneof(
  fc.record({ kind: fc.constant('pods'), pods: selector }),
  fc.record({ kind: fc.constant('pods'), namespaces: selector }),
  fc.record({ kind: fc.constant('pods'), namespaces: selector, pods: selector }),
  block,
);
const rule: fc.Arbitrary<PolicyRule> = fc.record({
  peers: fc.array(peer, { maxLength: 2, size: 'max' }),
  ports: fc.array(port, { maxLength: 2, size: 'max' }),
});
const rules = fc.array(rule, { maxLength: 2, size: 'max' });
const denyAction = fc.record({ denyAction: pick('drop', 'reject') }, { requiredKeys: [] });
const policy: fc.Arbitrary<NetworkPolicy> = fc
  .tuple(
    fc.record({
      kind: fc.constant('NetworkPolicy'),
      namespace: pick(...NAMESPACES),
      name: pick('p0', 'p1', 'p2', 'p3'),
      podSelector: fc.oneof(fc.constant([]), selector),
      mode: pick('enforce', 'enforce', 'audit'),
    }),
    fc.record({ ingress: rules, egress: rules }, { requiredKeys: [] }),
    denyAction,
  )
  .map(([base, directions, action]) => ({ ...base, ...directions, ...action }));
const namespace: fc.Arbitrary<Namespace> = fc
  .tuple(fc.record({ kind: fc.constant('Namespace'), name: pick(...NAMESPACES), labels }), denyAction)
  .map(([base, action]) => ({ ...base, ...action }));
const containerPorts: readonly ContainerPort[] = [
  { name: 'http', protocol: 'TCP', port: 80 },
  { name: 'http', protocol: 'TCP', port: 81 },
  { name: 'http', protocol: 'UDP', port: 80 },
  { name: 'dns', protocol: 'TCP', port: 80 },
];
const pod: fc.Arbitrary<Pod> = fc.record({
  kind: fc.constant('Pod'),
  namespace: pick(...NAMESPACES),
  name: pick('a', 'b', 'c', 'd'),
  created: fc.nat(2),
  labels: fc.oneof(fc.constant({ app: 'a' }), labels),
  addresses: fc.subarray(INSIDE, { maxLength: 2 }),
  ports: fc.oneof(fc.constant([]), fc.subarray([...containerPorts], { maxLength: 2 })),
  finished: pick(false, false, false, true),
  hostNetwork: pick(false, false, false, true),
  nodeName: pick('here', 'here', 'there'),
});
/** Two pods that no selector tells apart, which come, go and move between nodes. */
const twin: fc.Arbitrary<Pod> = fc.record({
  kind: fc.constant('Pod'),
  namespace: fc.constant('n0'),
  name: pick('t', 'u'),
  created: fc.constant(0),
  labels: fc.constant({ app: 'a' }),
  addresses: pick(ips('10.0.0.1'), ips('10.0.0.2', 'fd00::2')),
  ports: fc.constant([]),
  finished: pick(false, false, true),
  hostNetwork: fc.constant(false),
  nodeName: pick('here', 'there'),
});
const set = (resource: Pod | Namespace | NetworkPolicy): Change => ({ op: 'set', resource });
const remove = (kind: 'Pod' | 'Namespace' | 'NetworkPolicy', name: string): Change => {
  const [first = '', second = ''] = name.split('/');
  return {
    op: 'delete',
    kind,
    namespace: kind === 'Namespace' ? '' : first,
    name: kind === 'Namespace' ? first : second,
  };
};
const removal = fc.oneof(
  pick('n0/a', 'n0/b', 'n1/a').map((name) => remove('Pod', name)),
  pick('n0/p0', 'n0/p1', 'n1/p0').map((name) => remove('NetworkPolicy', name)),
  pick(...NAMESPACES).map((name) => remove('Namespace', name)),
);
const start = fc
  .tuple(
    fc.array(fc.oneof(pod, twin), { minLength: 3, maxLength: 6, size: 'max' }),
    fc.array(policy, { minLength: 1, maxLength: 4, size: 'max' }),
    fc.array(namespace, { maxLength: 2 }),
  )
  .map((objects) => objects.flat().map(set));
const change = fc.oneof(pod.map(set), twin.map(set), policy.map(set), namespace.map(set), removal);
const changes = fc.array(fc.array(change, { minLength: 1, maxLength: 2 }), { maxLength: 8, size: 'max' });

/** Entries in one order, so that sets compare. */
function comparable({ classes, sets, subjects, pods }: PolicyState): object {
  const ordered = Array.from(sets, ([name, each]) => {
    const entries = each.entries.map((entry) => JSON.stringify(entry)).sort();
    return [name, { ...each, entries }] as const;
  });
  const sorted = <K extends string, V>(rows: Iterable<readonly [K, V]>): unknown =>
    [...rows].sort(([a], [b]) => (a < b ? -1 : 1));
  return { classes: sorted(classes), sets: sorted(ordered), subjects: sorted(subjects), pods: sorted(pods) };
}

/** A copy that knows nothing but the deltas. */
function follow<K, V>(copy: Map<K, V>, delta: Delta<K, V>): boolean {
  for (const [key, { before, after }] of delta) {
    if (copy.get(key) !== before || before === after) return false;
    if (after === undefined) copy.delete(key);
    else copy.set(key, after);
  }
  return true;
}

/** Every pod of this node against every peer; the first disagreement as text. */
function disagreement(cluster: Cluster, state: PolicyState): string | undefined {
  const judge = new Judge(state);
  const parties: (Party & { readonly ip: Ip })[] = [...INSIDE, ...OUTSIDE].map((ip) => ({
    ip,
    pod: holder(cluster, ip),
    node: '',
  }));
  for (const subject of parties) {
    const found = state.subjects.get(subject.ip);
    const expected = subject.pod?.nodeName === 'here' ? `${subject.pod.namespace}/${subject.pod.name}` : undefined;
    if (found?.pod !== expected) return `${subject.ip} is ${found?.pod}, not ${expected}`;
    if (!found) continue;
    for (const other of parties) {
      if (familyOf(other.ip) !== familyOf(subject.ip)) continue;
      const wrong = sidesDiffer(cluster, judge, found, subject, other);
      if (wrong !== undefined) return wrong;
    }
  }
  return undefined;
}

function sidesDiffer(
  cluster: Cluster,
  judge: Judge,
  found: Subject,
  subject: Party,
  other: Party & { readonly ip: Ip },
): string | undefined {
  const peer = judge.classOf(other.ip);
  for (const direction of DIRECTIONS) {
    const name = found[direction];
    const auditName = direction === 'ingress' ? found.auditIngress : found.auditEgress;
    for (const target of TARGETS) {
      const side = judgeSide(cluster, direction, subject, other, target);
      const where = `${direction} of ${subject.ip} with ${other.ip} ${target.protocol}/${target.port}`;
      const { protocol, port: number } = target;
      if (judge.allows(name, peer, protocol, number) !== side.allowed) return `${where}: not ${side.allowed}`;
      if ((auditName === undefined) !== (side.audit === undefined)) return `${where}: audited or not`;
      if (judge.allows(auditName, peer, protocol, number) !== (side.audit?.allowed ?? true)) return `${where}: audit`;
      if (name === undefined ? side.policies.length > 0 : judge.set(name).policies.join() !== side.policies.join())
        return `${where}: isolated by others than ${side.policies.join()}`;
      if (name !== undefined && judge.set(name).action !== side.action) return `${where}: not ${side.action}`;
    }
  }
  return undefined;
}

function holder({ pods }: Cluster, ip: Ip): Pod | undefined {
  const holders = [...pods.values()].filter((one) => one.addresses.includes(ip) && !one.finished && !one.hostNetwork);
  return holders.sort((a, b) => b.created - a.created || (nameOf(a) < nameOf(b) ? -1 : 1))[0];
}

function nameOf(one: Pod): string {
  return `${one.namespace}/${one.name}`;
}

function clusterOf(objects: PolicyObjects): Cluster {
  const { pods, namespaces, policies } = objects;
  return { pods, namespaces, policies, denyAction: OPTIONS.denyAction };
}

function copyOf(objects: PolicyObjects): PolicyObjects {
  const copy = new PolicyObjects();
  for (const kind of [objects.policies, objects.pods, objects.namespaces])
    for (const resource of [...kind.values()].reverse()) copy.apply(set(resource));
  return copy;
}

/** Compared as text: the assertions of a test are too slow for this many. */
function sameText(what: string, a: unknown, b: unknown): void {
  const [left, right] = [JSON.stringify(a), JSON.stringify(b)];
  if (left !== right) throw new Error(`${what} differ:\n${left}\n${right}`);
}

function check(first: readonly Change[], later: readonly (readonly Change[])[]): void {
  const objects = new PolicyObjects();
  const compiler = new PolicyCompiler(objects, OPTIONS);
  const copy = { classes: new Map(), sets: new Map(), subjects: new Map(), pods: new Map() };
  for (const step of [first, ...later]) {
    for (const each of step) objects.apply(each);
    const delta = compiler.update();
    for (const table of ['classes', 'sets', 'subjects', 'pods'] as const)
      if (!follow(copy[table], delta[table] as Delta<string, unknown>)) throw new Error(`a wrong delta of ${table}`);
  }
  const wrong = disagreement(clusterOf(objects), compiler.state);
  if (wrong !== undefined) throw new Error(wrong);
  sameText('state and the sum of the deltas', comparable(compiler.state), comparable(copy));
  const scratch = compilePolicy(copyOf(objects), OPTIONS);
  sameText('state and compile from scratch', comparable(compiler.state), comparable(scratch));
}

test(`in ${RUNS} random clusters the tables say what the specification says, and following changes ends where reading all does`, (t) => {
  t.timeout(180_000);
  fc.assert(fc.property(start, changes, check), { numRuns: RUNS });
  t.pass();
});
