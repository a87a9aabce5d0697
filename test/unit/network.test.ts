import test from 'ava';
import {
  bindings,
  deviceRoles,
  type ForwardingEntry,
  globalAddresses,
  globPattern,
  isOverlay,
  type Link,
  type Neighbour,
  type Network,
  nodePortAddresses,
  parseRoutePrefix,
  type Route,
  sourceAddress,
} from '../../src/core/network.js';
import { formatPrefix, parsePrefix, type Prefix } from '../../src/core/net.js';
import { ip, ips } from '../helpers/model.js';

let ifindex = 0;

function link(name: string, fields: Partial<Link> = {}): Link {
  return {
    ifindex: ++ifindex,
    name,
    mtu: 1500,
    mac: '02:00:00:00:00:01',
    kind: '',
    master: '',
    up: true,
    addresses: [],
    ...fields,
  };
}

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed) throw new TypeError(text);
  return parsed;
}

const route = (destination: string, device: string, direct = true): Route => ({
  destination: prefix(destination),
  device,
  direct,
});
const neighbour = (address: string, mac: string, device: string): Neighbour => ({ ip: ip(address), mac, device });
const global = (...texts: string[]): Link['addresses'] =>
  ips(...texts).map((address) => ({ ip: address, scope: 'global', stable: true }));

function network(fields: Partial<Network>): Network {
  return { links: [], routes: [], neighbours: [], forwarding: [], ...fields };
}

const names = (links: readonly Link[]): string[] => links.map(({ name }) => name);

const LINKS = [
  link('lo', { addresses: [{ ip: ip('127.0.0.1'), scope: 'host', stable: true }] }),
  link('eth0'),
  link('eth1'),
  link('vxlan0', { kind: 'vxlan' }),
  link('br0', { kind: 'bridge' }),
  link('veth1', { kind: 'veth', master: 'br0' }),
  link('veth2', { kind: 'veth', master: 'br0' }),
  link('cali123', { kind: 'veth' }),
  link('docker0', { kind: 'bridge' }),
];
const ROUTES = [route('0.0.0.0/0', 'eth0'), route('10.0.0.0/24', 'eth0'), route('10.1.0.0/24', 'br0')];
const GLOBS = ['veth*', 'cali*'];

interface RoleRow {
  readonly name: string;
  readonly devices?: readonly string[];
  readonly podDevices?: readonly string[];
  readonly routes?: readonly Route[];
  readonly uplinks: readonly string[];
  readonly pods: readonly string[];
  readonly bridges: readonly string[];
  readonly missing?: readonly string[];
}

const PODS = { pods: ['veth1', 'veth2', 'cali123'], bridges: ['br0'] };
const ROLES: readonly RoleRow[] = [
  { name: 'the uplink is the device with a default route', uplinks: ['eth0'], ...PODS },
  {
    name: 'default routes of both families give one uplink',
    routes: [...ROUTES, route('::/0', 'eth0')],
    uplinks: ['eth0'],
    ...PODS,
  },
  {
    name: 'each family may have an uplink of its own',
    routes: [...ROUTES, route('::/0', 'eth1')],
    uplinks: ['eth0', 'eth1'],
    ...PODS,
  },
  { name: 'without a default route there is none', routes: [], uplinks: [], ...PODS },
  { name: '--devices wins over routes', devices: ['eth1', 'vxlan0'], uplinks: ['eth1', 'vxlan0'], ...PODS },
  {
    name: 'a device that does not exist is named',
    devices: ['eth1', 'eth7'],
    uplinks: ['eth1'],
    missing: ['eth7'],
    ...PODS,
  },
  {
    name: '--devices wins over --pod-devices',
    devices: ['eth0', 'veth1'],
    uplinks: ['eth0', 'veth1'],
    pods: ['veth2', 'cali123'],
    bridges: ['br0'],
  },
  {
    name: 'a bridge counts only for the pods at it',
    podDevices: ['cali*'],
    uplinks: ['eth0'],
    pods: ['cali123'],
    bridges: [],
  },
  {
    name: 'lo is never a pod',
    podDevices: ['*'],
    uplinks: ['eth0'],
    pods: ['eth1', 'vxlan0', 'br0', 'veth1', 'veth2', 'cali123', 'docker0'],
    bridges: ['br0'],
  },
  { name: 'no globs, no pods', podDevices: [], uplinks: ['eth0'], pods: [], bridges: [] },
  {
    name: 'a bridge that is an uplink stays one',
    devices: ['br0'],
    uplinks: ['br0'],
    pods: ['veth1', 'veth2', 'cali123'],
    bridges: [],
  },
];

for (const { name, devices = [], podDevices = GLOBS, routes = ROUTES, uplinks, pods, bridges, missing = [] } of ROLES) {
  test(`what devices are for: ${name}`, (t) => {
    const roles = deviceRoles(network({ links: LINKS, routes }), { devices, podDevices });
    t.deepEqual(names(roles.uplinks), [...uplinks]);
    t.deepEqual(names(roles.pods), [...pods]);
    t.deepEqual(names(roles.bridges), [...bridges]);
    t.deepEqual(roles.missing, [...missing]);
  });
}

const PATTERNS = [
  { glob: 'veth*', name: 'veth1', matches: true },
  { glob: 'veth*', name: 'veth', matches: true },
  { glob: 'veth*', name: 'myveth1', matches: false },
  { glob: 'eth?', name: 'eth0', matches: true },
  { glob: 'eth?', name: 'eth10', matches: false },
  { glob: 'eth0.1', name: 'eth0.1', matches: true },
  { glob: 'eth0.1', name: 'eth0x1', matches: false },
  { glob: 'a+b', name: 'aab', matches: false },
  { glob: 'a[bc]', name: 'a[bc]', matches: true },
  { glob: '*', name: 'anything', matches: true },
  { glob: '', name: 'eth0', matches: false },
];

for (const { glob, name, matches } of PATTERNS) {
  test(`device ${name} ${matches ? 'is' : 'is not'} one of '${glob}'`, (t) =>
    t.is(globPattern(glob).test(name), matches));
}

const FAMILIES = [
  {
    family: 'v4',
    length: 32,
    net: '10.1.0.0/24',
    pod: '10.1.0.5',
    other: '10.1.0.6',
    gateway: '10.0.0.254',
    all: '0.0.0.0/0',
  },
  {
    family: 'v6',
    length: 128,
    net: '2001:db8:1::/64',
    pod: '2001:db8:1::5',
    other: '2001:db8:1::6',
    gateway: 'fe80::fe',
    all: '::/0',
  },
] as const;

for (const { family, length, net, pod, other, all } of FAMILIES) {
  const [bridge, veth1, veth2] = [
    link('br0', { kind: 'bridge' }),
    link('veth1', { master: 'br0' }),
    link('veth2', { master: 'br0' }),
  ];
  const cali = link('cali1');
  const links = [bridge, veth1, veth2, cali];
  const pods = [veth1, veth2, cali];
  const bound = (fields: Partial<Network>, ...addresses: string[]): (string | undefined)[] => {
    const found = bindings(network({ links, ...fields }), pods, ips(...addresses));
    return addresses.map((address) => found.get(ip(address))?.name);
  };
  const bridged = {
    routes: [route(all, 'eth0'), route(net, 'br0')],
    neighbours: [neighbour(pod, '02:00:00:00:00:05', 'br0'), neighbour(other, '02:00:00:00:00:06', 'br0')],
    forwarding: [
      { mac: '02:00:00:00:00:05', device: 'veth1' },
      { mac: '02:00:00:00:00:06', device: 'veth2' },
    ] as ForwardingEntry[],
  };

  test(`a routed pod lives behind the device that its own route names (${family})`, (t) => {
    t.deepEqual(bound({ routes: [route(all, 'eth0'), route(`${pod}/${length}`, 'cali1')] }, pod, other), [
      'cali1',
      undefined,
    ]);
  });

  test(`a route to a whole range binds nobody (${family})`, (t) => {
    t.deepEqual(bound({ routes: [route(net, 'cali1')] }, pod), [undefined]);
  });

  test(`a bridged pod lives behind the bridge port where its neighbour's MAC was seen (${family})`, (t) => {
    t.deepEqual(bound(bridged, pod, other), ['veth1', 'veth2']);
  });

  test(`a bridged pod whose neighbour or MAC is not known yet is not bound (${family})`, (t) => {
    t.deepEqual(bound({ ...bridged, neighbours: [] }, pod), [undefined]);
    t.deepEqual(bound({ ...bridged, forwarding: [] }, pod), [undefined]);
  });

  test(`a neighbour on another device than the route's says nothing (${family})`, (t) => {
    t.deepEqual(bound({ ...bridged, neighbours: [neighbour(pod, '02:00:00:00:00:05', 'eth0')] }, pod), [undefined]);
  });

  test(`a port of another bridge than the route's says nothing (${family})`, (t) => {
    t.deepEqual(bound({ ...bridged, forwarding: [{ mac: '02:00:00:00:00:05', device: 'cali1' }] }, pod), [undefined]);
  });

  test(`the longest route decides (${family})`, (t) => {
    const routes = [route(`${pod}/${length}`, 'cali1'), ...bridged.routes];
    t.deepEqual(bound({ ...bridged, routes }, pod), ['cali1']);
    t.deepEqual(bound({ ...bridged, routes: [...bridged.routes, route(`${pod}/${length}`, 'eth0')] }, pod), [
      undefined,
    ]);
  });

  test(`an address without any route is not bound (${family})`, (t) =>
    t.deepEqual(bound({ ...bridged, routes: [] }, pod), [undefined]));
}

const ETH0 = link('eth0', {
  addresses: [
    ...global('192.0.2.1', '192.0.2.2'),
    { ip: ip('fe80::1'), scope: 'link', stable: true },
    { ip: ip('2001:db8::aaaa'), scope: 'global', stable: false },
    { ip: ip('2001:db8::1'), scope: 'global', stable: true },
  ],
});
const ETH1 = link('eth1', { addresses: global('198.51.100.1') });
const BRIDGE = link('br0', { addresses: global('10.1.0.1') });
const NODE = network({
  links: [link('lo', { addresses: [{ ip: ip('127.0.0.1'), scope: 'host', stable: true }] }), ETH0, ETH1, BRIDGE],
});

const NODE_PORTS = [
  {
    name: 'all: every global address of the uplinks',
    rule: 'all',
    addresses: ['192.0.2.1', '192.0.2.2', '2001:db8::aaaa', '2001:db8::1', '198.51.100.1'],
  },
  { name: 'primary: the first stable one of each family', rule: 'primary', addresses: ['192.0.2.1', '2001:db8::1'] },
  {
    name: 'prefixes: whatever of the node lies within',
    rule: [prefix('192.0.2.2/32'), prefix('10.1.0.0/16')],
    addresses: ['192.0.2.2', '10.1.0.1'],
  },
  {
    name: 'prefixes that overlap give an address once',
    rule: [prefix('192.0.2.0/24'), prefix('192.0.2.1/32')],
    addresses: ['192.0.2.1', '192.0.2.2'],
  },
  {
    name: 'prefixes never give loopback or link-local',
    rule: [prefix('127.0.0.0/8'), prefix('fe80::/10')],
    addresses: [],
  },
  { name: 'no prefix, no address', rule: [], addresses: [] },
] as const;

for (const { name, rule, addresses } of NODE_PORTS) {
  test(`where node ports are served, ${name}`, (t) =>
    t.deepEqual(nodePortAddresses(NODE, [ETH0, ETH1], rule) as string[], [...addresses]));
}

test('a device speaks with its first stable global address of the family, or with what it has', (t) => {
  t.is(sourceAddress(ETH0, 'v6'), ip('2001:db8::1'));
  t.is(sourceAddress(ETH1, 'v6'), undefined);
  const tentative = link('x', { addresses: [{ ip: ip('2001:db8::5'), scope: 'global', stable: false }] });
  t.is(sourceAddress(tentative, 'v6'), ip('2001:db8::5'));
  t.deepEqual(globalAddresses([ETH1, BRIDGE]) as string[], ['198.51.100.1', '10.1.0.1']);
});

test('a route is read as iproute2 prints it', (t) => {
  const read = (text: string, family: 'v4' | 'v6'): string | undefined => {
    const parsed = parseRoutePrefix(text, family);
    return parsed && formatPrefix(parsed);
  };
  t.is(read('default', 'v4'), '0.0.0.0/0');
  t.is(read('default', 'v6'), '::/0');
  t.is(read('10.1.0.5', 'v4'), '10.1.0.5/32');
  t.is(read('2001:db8::/64', 'v6'), '2001:db8::/64');
  t.is(read('unreachable', 'v4'), undefined);
});

test('a tunnel is an overlay device, a physical or virtual Ethernet is none', (t) => {
  const kinds = ['vxlan', 'geneve', 'ipip', 'wireguard', 'veth', 'bridge', '', 'vlan', 'bond'];
  t.deepEqual(
    kinds.filter((kind) => isOverlay(link('x', { kind }))),
    ['vxlan', 'geneve', 'ipip', 'wireguard'],
  );
});
