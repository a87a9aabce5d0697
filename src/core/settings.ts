/** What the compiler and the node's tables take from the agent's options, the node's network and the Node objects. */
import { WeirError } from '../errors.js';
import type { Settings } from './desired.js';
import type { Forwarding, Node, Scheduler } from './model.js';
import { familyOf, type Ip, parsePrefix, type Prefix } from './net.js';
import {
  type DeviceChoice,
  deviceRoles,
  globalAddresses,
  type Network,
  nodePortAddresses,
  type NodePortRule,
  onLinkPrefixes,
  type Roles,
  withoutServices,
} from './network.js';

export interface SettingsOptions {
  readonly nodeName: string;
  readonly scheduler: Scheduler;
  readonly forwarding: Forwarding;
  readonly nodePortAddresses: NodePortRule;
  readonly serviceProxyName: string;
}

/** The devices that carry programs. Throws WEIR_DEVICE where a named one is missing or there is no uplink at all. */
export function chooseDevices(network: Network, choice: DeviceChoice): Roles {
  const roles = deviceRoles(network, choice);
  for (const name of roles.missing) throw new WeirError('WEIR_DEVICE', `use --devices ${name}: no such device`);
  if (roles.uplinks.length > 0) return roles;
  throw new WeirError('WEIR_DEVICE', 'choose the uplinks: no device has a default route');
}

export function settingsOf(
  options: SettingsOptions,
  network: Network,
  roles: Roles,
  nodes: ReadonlyMap<string, Node>,
): Settings {
  const { nodeName, scheduler, forwarding, serviceProxyName, nodePortAddresses: rule } = options;
  const own = withoutServices(network);
  const nodeAddresses = new Set<Ip>(globalAddresses([...roles.uplinks, ...roles.bridges]));
  for (const node of nodes.values()) node.addresses.forEach((address) => nodeAddresses.add(address));
  return {
    nodeName,
    zone: nodes.get(nodeName)?.zone ?? '',
    scheduler,
    forwarding,
    nodePortAddresses: nodePortAddresses(own, roles.uplinks, rule),
    nodeAddresses,
    ownAddresses: new Set(globalAddresses(own.links)),
    onLink: onLinkPrefixes(network, roles.uplinks),
    serviceProxyName,
  };
}

/** What a compiled service depends on besides its objects, as text that compares. */
export function settingsFingerprint(settings: Settings): string {
  const { nodePortAddresses, zone, nodeAddresses, ownAddresses, onLink } = settings;
  return JSON.stringify([nodePortAddresses, zone, [...nodeAddresses].sort(), [...ownAddresses].sort(), onLink]);
}

/** From where tunnelled packets are accepted: every node's addresses and what the operator adds. */
export function tunnelSources(nodes: ReadonlyMap<string, Node>, more: readonly Prefix[]): Prefix[] {
  const whole = (address: Ip): Prefix => ({ address, bits: familyOf(address) === 'v4' ? 32 : 128 });
  return [...[...nodes.values()].flatMap((node) => node.addresses.map(whole)), ...more];
}

/**
 * Sources that count as the cluster's own: those given, else the pod ranges of the nodes. Of a family of which nothing is known
 * everything counts.
 */
export function clusterRanges(nodes: ReadonlyMap<string, Node>, given: readonly Prefix[]): Prefix[] {
  const known =
    given.length > 0
      ? given
      : [...nodes.values()].flatMap((node) => node.podCidrs.flatMap((cidr) => parsePrefix(cidr) ?? []));
  const everything = [parsePrefix('0.0.0.0/0'), parsePrefix('::/0')].flatMap((prefix) => prefix ?? []);
  const missing = everything.filter(({ address }) => !known.some((one) => familyOf(one.address) === familyOf(address)));
  return [...known, ...missing];
}
