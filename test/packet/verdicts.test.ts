/** The table of verdicts, held against the programs. */
import { serviceConfig } from '../../src/maps/service-config.js';
import { describeVerdict, VERDICTS, type VerdictRow } from '../helpers/verdicts.js';
import { tcp } from './frames.js';
import type { Outcome, ServiceSpec, World } from './harness.js';
import { end, type Roster } from './roster.js';
import { packetTests } from './suite.js';

const both = packetTests();
const NODE_PORT = 30080;

function specOf({ to, policy, endpoint }: VerdictRow, r: Roster): ServiceSpec {
  const endpoints = { here: [r.pod1], there: [r.remote[0]], nowhere: [] }[endpoint];
  const frontends = { ClusterIP: [r.clusterIp], NodePort: [], ExternalIP: [r.vip], LoadBalancer: [r.vip] }[to];
  return { kind: to, frontends, endpoints, policy, nodePort: NODE_PORT };
}

function open({ to, from }: VerdictRow, world: World, r: Roster): Outcome {
  const address = { ClusterIP: r.clusterIp, NodePort: r.node, ExternalIP: r.vip, LoadBalancer: r.vip }[to];
  const client = { outside: r.client, pod: r.pod2, endpoint: r.pod1 }[from];
  const packet = tcp(end(client, 40000), end(address, to === 'NodePort' ? NODE_PORT : 80), 'SYN');
  if (from === 'outside') return world.run('weir_up_in', packet);
  return world.run('weir_pod_in', packet, from === 'pod' ? 'pod2' : 'pod1');
}

const VERDICT = {
  served: { verdict: 'TC_ACT_REDIRECT', counters: { 'forwarded-nat': 1 } },
  refused: { verdict: 'TC_ACT_REDIRECT', counters: { 'no-endpoint': 1 } },
  dropped: { verdict: 'TC_ACT_SHOT', counters: { 'no-local-endpoint': 1 } },
} as const;

for (const row of VERDICTS) {
  for (const all of [false, true]) {
    const masqueraded = all ? row.masqueradedByAll : row.masqueraded;
    both(`${row.verdict}: ${describeVerdict(row)}${all ? ', --masquerade-all' : ''}`, (t, world, r) => {
      if (all) world.configure(serviceConfig({ masqueradeAll: true, serviceCidr: [] }));
      world.serve(specOf(row, r));
      const outcome = open(row, world, r);
      const { verdict, counters } = VERDICT[row.verdict];
      t.is(outcome.verdict, verdict);
      t.deepEqual(outcome.counters, counters);
      if (row.verdict !== 'served') return;
      const { source, destination } = outcome.packet['ip'] as { source: string; destination: string };
      t.is(destination, row.endpoint === 'here' ? r.pod1 : r.remote[0]);
      t.is([r.node, r.nodeOnUp1].includes(source as Roster['node']), masqueraded, `the endpoint sees ${source}`);
    });
  }
}
