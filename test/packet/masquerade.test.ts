/** Whose source is replaced: by --masquerade-all everybody's, by --cluster-cidr that of clients which are none of the cluster's. */
import { parsePrefix, type Prefix } from '../../src/core/net.js';
import { serviceConfig } from '../../src/maps/service-config.js';
import { tcp } from './frames.js';
import type { Outcome } from './harness.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const ALL = serviceConfig({ masqueradeAll: true, serviceCidr: [] });
const prefixes = (...texts: string[]): Prefix[] => texts.map((text) => parsePrefix(text)!);

const sourceOf = (outcome: Outcome): string => (outcome.packet['ip'] as { source: string }).source;

interface Case {
  readonly name: string;
  readonly all: boolean;
  readonly pod: boolean;
  readonly backend: (r: Roster) => Roster['client'];
  readonly forwarding?: 'dsr';
  readonly masqueraded: boolean;
}

const CASES: readonly Case[] = [
  { name: 'a client out there, to a local pod', all: false, pod: false, backend: (r) => r.pod2, masqueraded: false },
  { name: 'a client out there, to a local pod', all: true, pod: false, backend: (r) => r.pod2, masqueraded: true },
  {
    name: 'a client out there, to another node',
    all: true,
    pod: false,
    backend: (r) => r.remote[0],
    masqueraded: true,
  },
  { name: 'a pod, to a local pod', all: true, pod: true, backend: (r) => r.pod2, masqueraded: true },
  { name: 'a pod, to another node', all: false, pod: true, backend: (r) => r.remote[0], masqueraded: false },
  { name: 'a pod, to another node', all: true, pod: true, backend: (r) => r.remote[0], masqueraded: true },
  {
    name: "a client out there, to this node's own process",
    all: true,
    pod: false,
    backend: (r) => r.node,
    masqueraded: false,
  },
  {
    name: 'a client out there, to a local pod by DSR',
    all: true,
    pod: false,
    backend: (r) => r.pod2,
    forwarding: 'dsr',
    masqueraded: false,
  },
];

for (const { name, all, pod, backend, forwarding = 'nat', masqueraded } of CASES) {
  both(
    `${name}, ${all ? 'with' : 'without'} --masquerade-all: ${masqueraded ? 'masqueraded' : 'seen'}`,
    (t, world, r) => {
      if (all) world.configure(ALL);
      world.serve({ frontends: [r.vip], endpoints: [backend(r)], forwarding });
      const client = end(pod ? r.pod1 : r.client, 40000);
      const outcome = pod
        ? world.run('weir_pod_in', tcp(client, end(r.vip, 80), 'SYN'), 'pod1')
        : world.run('weir_up_in', tcp(client, end(r.vip, 80), 'SYN'));
      t.deepEqual(outcome.counters, { 'forwarded-nat': 1 });
      t.is(sourceOf(outcome) !== client.ip, masqueraded);
    },
  );
}

both("a masqueraded client's reply comes from a local pod back to it", (t, world, r) => {
  world.configure(ALL);
  world.serve({ frontends: [r.vip], endpoints: [r.pod2] });
  const [client, vip] = [end(r.client, 40000), end(r.vip, 80)];
  const there = world.run('weir_up_in', tcp(client, vip, 'SYN')).packet as {
    ip: { source: Roster['node'] };
    tcp: { source: number };
  };
  const reply = tcp(end(r.pod2, 8080), end(there.ip.source, there.tcp.source), 'SYN', 'ACK');
  const back = world.run('weir_pod_in', reply, 'pod2');
  t.is(back.verdict, 'TC_ACT_REDIRECT');
  t.like(back.packet, { ip: { source: r.vip, destination: r.client }, tcp: { source: 80, destination: 40000 } });
});

both(
  'a client at a pod device that is none of the cluster is masqueraded to another node, not to this one',
  (t, world, r) => {
    world.describe({ cluster: prefixes('192.168.0.0/16', 'fd99::/16') });
    const pods = { name: 'far', frontends: [r.otherVip], endpoints: [r.remote[0]] };
    world.serve({ frontends: [r.vip], endpoints: [r.pod2] }, pods);
    const to = (address: Roster['client']): string =>
      sourceOf(world.run('weir_pod_in', tcp(end(r.pod1, 40000), end(address, 80), 'SYN'), 'pod1'));
    t.is(to(r.vip), r.pod1);
    t.not(to(r.otherVip), r.pod1);
    world.seen.forget();
    world.describe({ cluster: prefixes('10.244.0.0/16', 'fd00:244::/32') });
    t.is(to(r.otherVip), r.pod1);
  },
);
