/**
 * The network namespace of the packet tests: two uplinks, an overlay device, three pods, with the routes and neighbours of a
 * small cluster. Neither it nor the bpf file system has a name that outlives the process: both are gone with it, however
 * it ends.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Link } from '../../src/core/network.js';
import type { Ip } from '../../src/core/net.js';
import { deviceByName, enterNetns } from '../../src/loader/devices.js';
import type { Fd } from '../../src/loader/libbpf.js';
import { MAC, ROSTERS, V4, V6 } from './roster.js';

export type DeviceName = 'up0' | 'up1' | 'ov0' | 'pod1' | 'pod2' | 'pod3';

/** Mounts a bpf file system and hides it again; what is returned is a path that leads there while this process lives. */
export function hiddenBpffs(): string {
  const dir = mkdtempSync(join(tmpdir(), 'weir-bpffs-'));
  run('mount', '-t', 'bpf', 'bpf', dir);
  const fd = openSync(dir, 'r');
  run('umount', '-l', dir);
  rmdirSync(dir);
  return `/proc/self/fd/${fd}`;
}

/** Moves the process into a namespace of its own and builds the network there. */
export function buildNetwork(): ReadonlyMap<DeviceName, Link> {
  enterUnnamedNetns();
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
  writeFileSync('/proc/sys/net/ipv6/conf/all/forwarding', '1');
  ip(
    'link set lo up',
    ...PAIRS.flatMap(pair),
    ...uplinks(),
    ...ROSTERS.flatMap(({ pod1, pod2, podUnbound }) => [
      ...podRoute('pod1', pod1),
      ...podRoute('pod2', pod2),
      ...podRoute('pod3', podUnbound),
    ]),
  );
  return new Map(PAIRS.map(([name, mac]) => [name, link(name, mac)]));
}

const PAIRS: readonly (readonly [DeviceName, string])[] = [
  ['up0', MAC.up0],
  ['up1', MAC.up1],
  ['ov0', MAC.ov0],
  ['pod1', '02:00:00:00:03:01'],
  ['pod2', '02:00:00:00:03:02'],
  ['pod3', '02:00:00:00:03:03'],
];

function pair([name, mac]: readonly [DeviceName, string]): string[] {
  return [
    `link add ${name} address ${mac} type veth peer name ${name}-peer`,
    `link set ${name}-peer addrgenmode none up`,
    `link set ${name} addrgenmode none up`,
  ];
}

function uplinks(): string[] {
  return [
    ...uplink('up0', '10.0.0.1/24', 'fd00::1/64', {
      '10.0.0.254': MAC.gateway,
      'fd00::fe': MAC.gateway,
      '10.0.0.2': MAC.node2,
      'fd00::2': MAC.node2,
    }),
    ...uplink('up1', '10.1.0.1/24', 'fd00:1::1/64', { '10.1.0.2': MAC.node3, 'fd00:1::2': MAC.node3 }),
    ...uplink('ov0', '10.2.0.1/24', 'fd00:2::1/64', { '10.2.0.2': MAC.node4, 'fd00:2::2': MAC.node4 }),
    ...[
      'default via 10.0.0.254',
      '10.244.2.0/24 via 10.0.0.2',
      '10.244.3.0/24 via 10.1.0.2',
      '10.244.4.0/24 via 10.2.0.2',
    ].map(add),
    ...[
      'default via fd00::fe',
      'fd00:244:2::/64 via fd00::2',
      'fd00:244:3::/64 via fd00:1::2',
      'fd00:244:4::/64 via fd00:2::2',
    ].map(add),
    ...['10.244.6.0/24 via 10.0.0.6', 'fd00:244:6::/64 via fd00::6'].map(add),
    ...['unreachable 10.244.5.0/24', 'unreachable fd00:244:5::/64'].map(add),
  ];
}

function uplink(name: DeviceName, v4: string, v6: string, neighbours: Readonly<Record<string, string>>): string[] {
  return [
    `address add ${v4} dev ${name}`,
    `address add ${v6} dev ${name} nodad`,
    ...Object.entries(neighbours).map(([address, mac]) => `neighbour add ${address} lladdr ${mac} dev ${name}`),
  ];
}

function podRoute(name: DeviceName, address: Ip): string[] {
  return [
    add(`${address} dev ${name}`),
    `neighbour add ${address} lladdr 02:00:00:00:04:0${name.slice(-1)} dev ${name}`,
  ];
}

function add(route: string): string {
  return `route add ${route}`;
}

function link(name: DeviceName, mac: string): Link {
  const addresses = {
    up0: [V4.node, V6.node],
    up1: [V4.nodeOnUp1, V6.nodeOnUp1],
    ov0: ['10.2.0.1' as Ip, 'fd00:2::1' as Ip],
    pod1: [],
    pod2: [],
    pod3: [],
  }[name].map((address: Ip) => ({ ip: address, scope: 'global', stable: true }));
  const kind = name === 'ov0' ? 'vxlan' : 'veth'; // as the agent would see a real one
  return { ifindex: deviceByName(name).ifindex, name, mtu: 1500, mac, kind, master: '', up: true, addresses };
}

function enterUnnamedNetns(): void {
  const name = `weir-packet-${process.pid}`;
  run('ip', 'netns', 'add', name);
  const fd = openSync(`/run/netns/${name}`, 'r');
  run('ip', 'netns', 'del', name);
  enterNetns(fd as Fd);
  closeSync(fd);
}

/** Changes the namespace's links, addresses and routes, in one process. */
export function ip(...commands: readonly string[]): void {
  execFileSync('ip', ['-batch', '-'], { input: `${commands.join('\n')}\n`, stdio: ['pipe', 'ignore', 'inherit'] });
}

function run(command: string, ...args: readonly string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}
