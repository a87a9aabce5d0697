/** The table of verdicts, held against the compiler. */
import test from 'ava';
import { compileService, type DesiredFrontend } from '../../src/core/desired.js';
import { describeVerdict, type Verdict, VERDICTS, type VerdictRow } from '../helpers/verdicts.js';
import { endpoint, ips, service, settings, slice } from '../helpers/model.js';

const FAMILIES = {
  IPv4: { here: '10.1.0.1', there: '10.1.0.2', address: '10.96.0.1', outside: '198.51.100.1' },
  IPv6: { here: 'fd01::1', there: 'fd01::2', address: 'fd00::1', outside: '2001:db8:f::1' },
} as const;

function frontendOf({ to, policy, endpoint: where }: VerdictRow, family: keyof typeof FAMILIES): DesiredFrontend {
  const { here, there, address, outside } = FAMILIES[family];
  const endpoints = { here: [endpoint(here, { nodeName: 'node-1' })], there: [endpoint(there)], nowhere: [] }[where];
  const web = service('web', {
    clusterIps: to === 'ClusterIP' ? ips(address) : [],
    externalIps: to === 'ExternalIP' ? ips(outside) : [],
    loadBalancerIps: to === 'LoadBalancer' ? ips(outside) : [],
    ports: [{ name: '', protocol: 'TCP', port: 80, nodePort: to === 'NodePort' ? 30080 : 0 }],
    internalTrafficPolicy: policy,
    externalTrafficPolicy: policy,
  });
  const { ports } = compileService(web, [slice('web', endpoints)], settings());
  const isV6 = family === 'IPv6';
  return ports[0]!.frontends.find((frontend) => frontend.kind === to && frontend.address.includes(':') === isV6)!;
}

function verdictOf(frontend: DesiredFrontend, from: VerdictRow['from']): Verdict {
  const list = from === 'outside' ? frontend.outside : frontend.inside;
  if (list.length > 0) return 'served';
  return frontend.exists ? 'dropped' : 'refused';
}

for (const row of VERDICTS) {
  for (const family of ['IPv4', 'IPv6'] as const) {
    const frontend = (): DesiredFrontend | undefined => frontendOf(row, family);
    test(`${row.verdict}: ${describeVerdict(row)} (${family})`, (t) => {
      const found = frontend();
      /* node ports of a family without an endpoint exist all the same */
      t.truthy(found);
      if (found) t.is(verdictOf(found, row.from), row.verdict);
    });
  }
}
