/** What the IPVS dataplane does not get: others' addresses, what the kernel refuses; and what goes on nevertheless. */
import test from 'ava';
import { compileService } from '../../src/core/desired.js';
import type { Network } from '../../src/core/network.js';
import { deviceRoles } from '../../src/core/network.js';
import { settingsFingerprint, settingsOf, type SettingsOptions } from '../../src/core/settings.js';
import { flattened, parseSaved } from '../../src/ipvs/ipvsadm-text.js';
import { ownServers, takenAddresses } from '../../src/ipvs/kernel.js';
import { Marks } from '../../src/ipvs/marks.js';
import { placeService } from '../../src/ipvs/placement.js';
import { refusedServers, unavailable, unboundProblems } from '../../src/ipvs/unavailable.js';
import { matchText, type VirtualServers } from '../../src/ipvs/virtual.js';
import { endpoint, ip, ips, service, settings, slice } from '../helpers/model.js';

const NODE = {
  own: new Set(ips('192.0.2.1')),
  taken: new Set<never>(),
  nodeAddress: () => undefined,
  tunnelEnd: () => undefined,
};
const web = compileService(
  service('web', { clusterIps: ips('10.96.0.1'), externalIps: ips('198.51.100.1'), externalTrafficPolicy: 'Local' }),
  [slice('web', [endpoint('10.1.0.1')])],
  settings({ scheduler: 'dh' }),
);
const placed = new Map([['shop/web', placeService(web, { ...NODE, isOnLink: () => true }, new Marks())]]);

/** As the kernel would have it, but for what begins with one of these. */
function without(...refused: string[]): VirtualServers {
  const [service] = placed.values();
  const lines = [
    ...flattened(new Map((service?.servers ?? []).map((server) => [matchText(server.match), server]))),
  ].map(([key, options]) => `${key.includes(' -r ') ? '-a' : '-A'} ${key} ${options}`);
  return parseSaved(lines.filter((line) => !refused.some((start) => line.startsWith(start))).join('\n'));
}

test('addresses of others are those of their virtual servers, until an agent has claimed them', (t) => {
  const servers = parseSaved(
    '-A -t 198.51.100.1:22 -s rr\n-A -t 198.51.100.2:22 -s rr\n-A -t 198.51.100.3:22 -s rr\n-A -f 7 -s rr',
  );
  const kernel = { servers, addresses: new Set(ips('198.51.100.2')) };
  const claimed = new Set(ips('198.51.100.3'));
  t.deepEqual([...takenAddresses(kernel, claimed)], ips('198.51.100.1'));
  t.deepEqual([...ownServers(kernel, claimed).keys()], ['-t 198.51.100.2:22', '-t 198.51.100.3:22']);
  t.deepEqual(
    unavailable([web], takenAddresses(kernel, claimed)).map(({ object }) => object),
    ['Service shop/web'],
  );
  t.deepEqual(unavailable([web], new Set()), []);
});

test('a virtual server that the kernel does not take is named with what is missing, and nobody else answers for it', (t) => {
  const complaint = 'Scheduler or persistence engine not found';
  const { problems, rows } = refusedServers(placed, complaint, () => without('-A -t 10.96.0.1', '-a -t 10.96.0.1'));
  t.deepEqual(
    problems.map(({ object, field, message, code }) => [object, field, message, code]),
    [
      [
        'Service shop/web',
        'scheduler',
        'virtual server -t 10.96.0.1:80: the kernel module ip_vs_dh is not there',
        'WEIR_KERNEL_MODULE',
      ],
    ],
  );
  t.deepEqual(
    rows.map(({ table, key, value }) => [table, key, value]),
    ['outside', 'inside'].map((side) => [`refused_${side}4`, '10.96.0.1 . tcp . 80', 'goto no_endpoint']),
  );
});

test('where clients on this node have another virtual server, they are not refused with those out there', (t) => {
  const { rows } = refusedServers(placed, 'Memory allocation problem', () =>
    without('-A -t 198.51.100.1', '-a -t 198.51.100.1'),
  );
  t.deepEqual(
    rows.map(({ table }) => table),
    ['refused_outside4'],
  );
});

test('one that lacks a real server goes on, and is named', (t) => {
  const { problems, rows } = refusedServers(placed, 'Invalid operation', () => without('-a -t 10.96.0.1'));
  t.deepEqual(
    problems.map(({ message }) => message),
    ['virtual server -t 10.96.0.1:80: ipvsadm says: Invalid operation'],
  );
  t.deepEqual(rows, []);
  t.deepEqual(refusedServers(placed, 'a warning', () => without()).problems, [], 'what is there is no problem');
});

test('addresses that the device cannot have are named', (t) => {
  const complaint = 'Error: IPv6 is disabled on this device.';
  t.deepEqual(unboundProblems(ips('10.96.0.1', 'fd00::1'), new Set(ips('10.96.0.1')), complaint), [
    { object: 'address fd00::1', field: '', message: `is not served: weir-ipvs0 cannot have it: ${complaint}` },
  ]);
});

test('addresses of services are none of the node: nothing changes with them', (t) => {
  const link = (name: string, ...addresses: string[]) => ({
    ...{ ifindex: 1, name, mtu: 1500, mac: undefined, kind: '', master: '', up: true },
    addresses: addresses.map((text) => ({ ip: ip(text), scope: 'global', stable: true })),
  });
  const uplink = link('eth0', '10.0.0.1');
  const bare: Network = { links: [uplink], routes: [], neighbours: [], forwarding: [] };
  const serving: Network = { ...bare, links: [uplink, link('weir-ipvs0', '10.96.0.1')] };
  const options: SettingsOptions = {
    nodeName: 'node-1',
    scheduler: 'rr',
    forwarding: 'nat',
    serviceProxyName: '',
    nodePortAddresses: [{ address: ip('10.0.0.0'), bits: 8 }],
  };
  const of = (network: Network) =>
    settingsOf(options, network, deviceRoles(network, { devices: ['eth0'], podDevices: [] }), new Map());
  t.deepEqual(of(serving).nodePortAddresses, ips('10.0.0.1'));
  t.is(settingsFingerprint(of(serving)), settingsFingerprint(of(bare)));
});
