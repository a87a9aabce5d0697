/** What policy costs: a packet at a pod's device, and compiling the policies of a large cluster. */
import type { NetworkPolicy, Pod } from '../src/core/model.js';
import { parseIp, parsePrefix } from '../src/core/net.js';
import { compilePolicy, PolicyCompiler } from '../src/core/policy/compiler.js';
import { PolicyObjects } from '../src/core/policy/objects.js';
import type { Fd } from '../src/loader/libbpf.js';
import { percentiles, type Timing } from './control.js';
import { type Lab, VIP } from './lab.js';
import type { Result } from './packets.js';
import type { Stopwatch, Stream } from './xdp.js';

const POD = '10.244.0.1';
const PORT = 8080;
/** ns that a verdict may take besides its entry. */
const VERDICT_NS = 250;
const OPTIONS = { nodeName: 'bench', denyAction: 'drop' } as const;
const RULES = [0, 10, 1_000, 10_000];
const POLICIES = 1_000;
const PODS = 10_000;
const CHANGES = 200;

/** What rules add to a packet on its way into a pod; the floor is a balancer's flow table with the same traffic. */
export async function benchPolicy(
  root: string,
  lab: Lab,
  stopwatch: Stopwatch,
  floor: Fd,
  report: (result: Result) => void,
): Promise<void> {
  const base: Stream = { protocol: 'tcp', destination: POD, port: PORT, syn: false, flows: 1, warm: true };
  const streams: readonly [string, Stream][] = [
    ['policy, 1 flow', base],
    ['policy, 64k flows', { ...base, flows: 65536 }],
    ['policy, all new flows', { ...base, syn: true, flows: 1 << 24, warm: false }],
  ];
  const bare = new Map<string, number>();
  let hit = 0; // ns of the floor with one flow: without it a new flow's is an insertion
  for (const rules of RULES) {
    const objects = objectsOf(podOf(0, POD), ...(rules > 0 ? [manyRules(rules)] : []));
    const target = compilePolicy(objects, OPTIONS);
    using world = await lab.open(root, { forwarding: 'dsr', services: 1, backends: 10 }, target);
    for (const [what, stream] of streams) {
      const least = stopwatch.measure(floor, { ...stream, destination: VIP, port: 80 });
      const figure = stopwatch.measure(world.pod, { ...stream, tcDevice: world.ifindex });
      if (figure.verdict !== 0) throw new Error(`${what}, ${rules} rules: the packet was not let through`);
      if (stream === base) hit = least.net;
      if (rules === 0) bare.set(what, figure.net);
      const net = round(rules === 0 ? figure.net : figure.net - (bare.get(what) ?? 0));
      report({
        ...figure,
        what,
        net,
        setup: rules === 0 ? 'pod device without policy' : `${rules} rules, above that`,
        floor: `maglev_flows ${least.net}`,
        ratio: round(net / least.net),
        target: rules === 0 ? undefined : stream.warm ? 1.3 : round((VERDICT_NS + least.net - hit) / least.net),
      });
    }
  }
}

function round(x: number): number {
  return Math.round(x * 100) / 100;
}

/** ms to compile from nothing, and from one pod's change of labels to the difference. */
export function benchCompiler(): Timing[] {
  const pods = Array.from({ length: PODS }, (_, i) => podOf(i));
  const policies = Array.from({ length: POLICIES }, (_, i) => policyBetween(i));
  const label = `${POLICIES} policies, ${PODS} pods`;
  const scratch = Array.from({ length: 5 }, () => {
    const objects = objectsOf(...pods, ...policies);
    const started = performance.now();
    compilePolicy(objects, OPTIONS);
    return performance.now() - started;
  });
  const objects = objectsOf(...pods, ...policies);
  const compiler = new PolicyCompiler(objects, OPTIONS);
  compiler.update();
  const changes = Array.from({ length: CHANGES }, (_, i) => {
    const changed = pods[i * 37] ?? pods[0]!;
    objects.apply({ op: 'set', resource: { ...changed, labels: { app: `app-${(i * 7) % POLICIES}` } } });
    const started = performance.now();
    compiler.update();
    return performance.now() - started;
  });
  return [
    { what: `policy from nothing, ${label}`, ...percentiles(scratch), target: '' },
    { what: 'one pod with other labels, to the changed rows', ...percentiles(changes), target: '<= 5, 20 ms' },
  ];
}

/** A hundredth of the pods are on this node. */
export function podOf(index: number, address = `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`): Pod {
  return {
    kind: 'Pod',
    namespace: 'bench',
    name: `pod-${index}`,
    created: 0,
    labels: { app: `app-${index % POLICIES}` },
    addresses: [parseIp(address)!],
    ports: [],
    finished: false,
    hostNetwork: false,
    nodeName: index % 100 === 0 ? 'bench' : 'elsewhere',
  };
}

export function policyOf(name: string, fields: Pick<NetworkPolicy, 'podSelector' | 'ingress'>): NetworkPolicy {
  return { kind: 'NetworkPolicy', namespace: 'bench', name, mode: 'enforce', ...fields };
}

/** One rule lets the measured clients in; each of the others has a block and a port of its own. */
function manyRules(count: number): NetworkPolicy {
  const rule = (cidr: string, port: number) => ({
    peers: [{ kind: 'block' as const, cidr: parsePrefix(cidr)!, except: [] }],
    ports: [{ protocol: 'TCP' as const, range: [port, port] as const }],
  });
  const others = Array.from({ length: count - 1 }, (_, i) =>
    rule(`172.${16 + (i >> 12)}.${(i >> 4) & 255}.${(i & 15) << 4}/28`, 10_000 + i),
  );
  return policyOf('many', { podSelector: [], ingress: [...others, rule('10.128.0.0/16', PORT)] });
}

function policyBetween(index: number): NetworkPolicy {
  const app = (number: number) => [{ key: 'app', operator: 'In' as const, values: [`app-${number % POLICIES}`] }];
  const ports = [{ protocol: 'TCP' as const, range: [PORT, PORT] as const }];
  const peers = [{ kind: 'pods' as const, pods: app(index + 1) }];
  return policyOf(`policy-${index}`, { podSelector: app(index), ingress: [{ peers, ports }] });
}

function objectsOf(...resources: readonly (Pod | NetworkPolicy)[]): PolicyObjects {
  const objects = new PolicyObjects();
  for (const resource of resources) objects.apply({ op: 'set', resource });
  return objects;
}
