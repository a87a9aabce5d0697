/** Who lives in the packet tests, in both families: one row of a table of tests each. */
import type { Ip } from '../../src/core/net.js';
import type { End } from './frames.js';

export interface Roster {
  readonly family: 'IPv4' | 'IPv6';
  readonly client: Ip;
  readonly otherClient: Ip;
  /** Addresses of services: external, and in the cluster. */
  readonly vip: Ip;
  readonly otherVip: Ip;
  readonly clusterIp: Ip;
  /** This node, on up0. */
  readonly node: Ip;
  /** The router towards the clients. */
  readonly gateway: Ip;
  /** Reached by up0; its pods are `remote`. */
  readonly node2: Ip;
  readonly remote: readonly [Ip, Ip, Ip];
  /** This node's address on up1, and a pod of node 3 behind it. */
  readonly nodeOnUp1: Ip;
  readonly remoteByUp1: Ip;
  /** A pod behind the overlay device ov0, which XDP cannot send through. */
  readonly remoteByOverlay: Ip;
  /** Pods of nodes that the kernel has no route, and no neighbour, for. */
  readonly unroutable: Ip;
  readonly withoutNeighbour: Ip;
  /** Behind pod1 and pod2. */
  readonly pod1: Ip;
  readonly pod2: Ip;
  /** Its device is not known. */
  readonly podUnbound: Ip;
  /** An encapsulating box that is no node (--dsr-sources), and one that nobody knows. */
  readonly director: Ip;
  readonly stranger: Ip;
  /** IP header without options, and the protocol number of a tunnel. */
  readonly headerSize: number;
  readonly tunnelProtocol: number;
}

const ip = (text: string): Ip => text as Ip;

export const V4: Roster = {
  family: 'IPv4',
  client: ip('198.51.100.7'),
  otherClient: ip('198.51.100.8'),
  vip: ip('192.0.2.10'),
  otherVip: ip('192.0.2.11'),
  clusterIp: ip('10.96.0.10'),
  node: ip('10.0.0.1'),
  gateway: ip('10.0.0.254'),
  node2: ip('10.0.0.2'),
  remote: [ip('10.244.2.10'), ip('10.244.2.11'), ip('10.244.2.12')],
  nodeOnUp1: ip('10.1.0.1'),
  remoteByUp1: ip('10.244.3.10'),
  remoteByOverlay: ip('10.244.4.10'),
  unroutable: ip('10.244.5.10'),
  withoutNeighbour: ip('10.244.6.10'),
  pod1: ip('10.244.1.10'),
  pod2: ip('10.244.1.20'),
  podUnbound: ip('10.244.1.30'),
  director: ip('203.0.113.5'),
  stranger: ip('198.51.100.99'),
  headerSize: 20,
  tunnelProtocol: 4,
};

export const V6: Roster = {
  family: 'IPv6',
  client: ip('2001:db8:c::7'),
  otherClient: ip('2001:db8:c::8'),
  vip: ip('2001:db8:f::10'),
  otherVip: ip('2001:db8:f::11'),
  clusterIp: ip('fd00:96::10'),
  node: ip('fd00::1'),
  gateway: ip('fd00::fe'),
  node2: ip('fd00::2'),
  remote: [ip('fd00:244:2::10'), ip('fd00:244:2::11'), ip('fd00:244:2::12')],
  nodeOnUp1: ip('fd00:1::1'),
  remoteByUp1: ip('fd00:244:3::10'),
  remoteByOverlay: ip('fd00:244:4::10'),
  unroutable: ip('fd00:244:5::10'),
  withoutNeighbour: ip('fd00:244:6::10'),
  pod1: ip('fd00:244:1::10'),
  pod2: ip('fd00:244:1::20'),
  podUnbound: ip('fd00:244:1::30'),
  director: ip('2001:db8:d::5'),
  stranger: ip('2001:db8:e::99'),
  headerSize: 40,
  tunnelProtocol: 41,
};

export const ROSTERS = [V4, V6] as const;

export const end = (address: Ip, port: number): End => ({ ip: address, port });

/** Who has which Ethernet address. */
export const MAC = {
  up0: '02:00:00:00:00:01',
  up1: '02:00:00:00:01:01',
  ov0: '02:00:00:00:02:01',
  gateway: '02:00:00:00:00:fe',
  node2: '02:00:00:00:00:02',
  node3: '02:00:00:00:01:02',
  node4: '02:00:00:00:02:02',
} as const;
