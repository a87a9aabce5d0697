/** What ipvsadm tells of connections, and what that means for flows and backends that end. */
import test from 'ava';
import { compileService } from '../../src/core/desired.js';
import {
  type Connection,
  parseConnections,
  parseTemplates,
  parseTimeouts,
  stateName,
} from '../../src/ipvs/connections.js';
import { parseLoads } from '../../src/ipvs/loads.js';
import { behindTunnels } from '../../src/ipvs/tunnels.js';
import { endpoint, ip, ips, service, settings, slice } from '../helpers/model.js';

/** As ipvsadm 1.31 prints it for -Lcn. */
const LISTED = `IPVS connection entries
pro expire state       source             virtual            destination
TCP 14:59  ESTABLISHED 10.9.0.10:40000    10.0.0.1:30080     10.244.1.10:8080
TCP 01:57  FIN_WAIT    10.9.0.10:40001    192.0.2.80:80      10.244.2.11:8080
TCP 01:05  TIME_WAIT   10.9.0.10:40002    192.0.2.80:80      10.244.2.11:8080
TCP 00:59  SYN_RECV    10.9.0.10:40003    192.0.2.80:80      10.244.2.11:8080
UDP 04:30  UDP         [fd00:9::10]:40004 [2001:db8::80]:53  [fd00:244:1::a]:8081
TCP 02:30  NONE        10.9.0.10:0        192.0.2.80:80      10.244.2.11:8080
IP  02:30  NONE        10.9.0.10:0        87.0.0.1:0         10.244.2.11:8080
`;

test('connections are read, templates of persistence are not connections', (t) => {
  const found = parseConnections(LISTED);
  t.deepEqual(
    found.map((one) => `${one.client.port} ${one.frontend.address} ${one.frontend.port} ${stateName(one)}`),
    [
      '40000 10.0.0.1 30080 established',
      '40001 192.0.2.80 80 closing',
      '40002 192.0.2.80 80 closed',
      '40003 192.0.2.80 80 new',
      '40004 2001:db8::80 53 established',
    ],
  );
  t.like(found[4], { protocol: 'UDP', backend: { address: 'fd00:244:1::a', port: 8081 }, expires: 270 });
});

test('a template tells of a client, its backend and the time that is left', (t) => {
  t.deepEqual(
    parseTemplates(LISTED).map(({ client, frontend, backend, expires }) => [client, frontend, backend, expires]),
    ['192.0.2.80:80', '87.0.0.1:0'].map((text) => {
      const [address, port] = text.split(':');
      return [
        { address: '10.9.0.10', port: 0 },
        { address, port: Number(port) },
        { address: '10.244.2.11', port: 8080 },
        150,
      ];
    }),
  );
});

test('behind a tunnel is the backend of the node, where it has one of the service', (t) => {
  const nodes = { 'node-2': ips('192.0.2.2', '2001:db8::2'), 'node-3': ips('192.0.2.3') };
  const backends = [
    endpoint('10.1.0.1', { nodeName: 'node-1' }),
    endpoint('10.1.0.2', { nodeName: 'node-2' }),
    endpoint('10.1.0.3', { nodeName: 'node-3' }),
    endpoint('10.1.0.4', { nodeName: 'node-3', ready: false, serving: true, terminating: true }),
    endpoint('fd00::2', { nodeName: 'node-2' }),
  ];
  const fields = { clusterIps: ips('10.96.0.1'), externalIps: ips('192.0.2.80', '2001:db8::80') };
  const one = service('web', { ...fields, annotations: { 'weir.io/forwarding': 'dsr' } });
  const desired = [compileService(one, [slice('web', backends)], settings())];
  const to = (frontend: string, backend: string): Connection => ({
    ...{ protocol: 'TCP', client: { address: ip('10.9.0.10'), port: 40000 }, state: 'ESTABLISHED', expires: 1 },
    frontend: { address: ip(frontend), port: 80 },
    backend: { address: ip(backend), port: 80 },
  });
  const toBackend = behindTunnels(desired, nodes);
  const behind = (...ends: [string, string]): string => {
    const { backend } = toBackend(to(...ends));
    return `${backend.address} ${backend.port}`;
  };
  t.is(behind('192.0.2.80', '192.0.2.2'), '10.1.0.2 8080');
  t.is(behind('2001:db8::80', '2001:db8::2'), 'fd00::2 8080');
  t.is(behind('192.0.2.80', '192.0.2.3'), '192.0.2.3 80', 'of two');
  t.is(behind('192.0.2.80', '10.1.0.1'), '10.1.0.1 80', 'no tunnel');
  t.is(behind('192.0.2.81', '192.0.2.2'), '192.0.2.2 80', 'no frontend of ours');
});

test('how long a connection has been idle follows from the timeout of its state', (t) => {
  const timeouts = parseTimeouts('Timeout (tcp tcpfin udp): 900 120 300\n');
  const asked = parseConnections(LISTED).map((one) => timeouts.of(one));
  t.deepEqual(asked, [900, 120, undefined, undefined, 300]);
});

test('a real server holds its active and its inactive connections', (t) => {
  const listed = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.96.0.10:80 mh (mh-fallback,mh-port)
  -> 10.244.1.10:8080             Masq    1      3          2
  -> 10.244.2.11:8080             Masq    0      0          0
UDP  [fd00:96::10]:53 rr persistent 600
  -> [fd00:244:1::a]:8081         Masq    1      0          7
FWM  1459617793 rr
  -> 10.244.1.10:8080             Masq    1      1          0
FWM  1459617794 IPv6 rr
  -> [fd00:244:1::a]:8080         Tunnel  1      0          4
`;
  const v6 = '-u [fd00:96::10]:53';
  t.deepEqual(Object.fromEntries(parseLoads(listed)), {
    '-t 10.96.0.10:80 10.244.1.10:8080': { virtual: '-t 10.96.0.10:80', active: 3, inactive: 2 },
    '-t 10.96.0.10:80 10.244.2.11:8080': { virtual: '-t 10.96.0.10:80', active: 0, inactive: 0 },
    [`${v6} [fd00:244:1::a]:8081`]: { virtual: v6, active: 0, inactive: 7 },
    '-f 1459617793 10.244.1.10:8080': { virtual: '-f 1459617793', active: 1, inactive: 0 },
    '-f 1459617794 -6 [fd00:244:1::a]:8080': { virtual: '-f 1459617794 -6', active: 0, inactive: 4 },
  });
});
