/**
 * The table `bridge weir-policy`: policy trusts sources, and no route tells where an address behind a bridge lives. Where a pod lives
 * is known from the node's neighbours and what the bridge has learnt: its address comes from no other port then, nor is it claimed
 * there by ARP or neighbour discovery, and no address that no pod has comes from its port. Link-local addresses, which no policy
 * names, and frames with a VLAN tag come from no port.
 */
import { familyOf, type Ip } from '../core/net.js';
import type { Link } from '../core/network.js';
import { plan, type Row, type Rows, toRows } from '../core/plan.js';
import { type ChainDigests, changedChains, type Chains, tableText, versionOf } from './chains.js';
import { elements } from './policy-text.js';
import { countDeclaration, countPacket, recordPacket, recordSets } from './records.js';

export const BRIDGE_TABLE = 'bridge weir-policy';

const FAMILIES = [
  { n: 4, ip: 'ip', type: 'ipv4_addr', none: '0.0.0.0' },
  { n: 6, ip: 'ip6', type: 'ipv6_addr', none: '::' },
] as const;

function declarations(): string[] {
  const sets = FAMILIES.flatMap(({ n, type }) => [
    `set known${n} { type ${type}; }`,
    `set bound${n} { type ${type}; }`,
    `set behind${n} { type ifname . ${type}; }`,
  ]);
  const spoofed = [countDeclaration('spoofed'), ...recordSets('spoofed')];
  return [...spoofed, ...sets, 'set ports { type ifname; }', 'set settled { type ifname; }'];
}

function chains(): Chains {
  const sources = FAMILIES.flatMap(({ n, ip, none }) => [
    `${ip} saddr ${none} accept`,
    `iifname . ${ip} saddr @behind${n} accept`,
    `${ip} saddr @bound${n} goto spoofed`,
    `iifname @settled ${ip} saddr != @known${n} goto spoofed`,
  ]);
  const discovery =
    'icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept';
  /* an address whose port is known is nobody else's to claim: neighbours are believed; nft 1.0.6 has no target of an advertisement */
  const claims = [
    'arp saddr ip @bound4 iifname . arp saddr ip != @behind4 goto spoofed',
    'ip6 saddr @bound6 iifname . ip6 saddr != @behind6 goto spoofed',
  ];
  return [
    ['spoofed', [countPacket('spoofed'), ...recordPacket('spoofed'), 'drop']],
    [
      'sources',
      [
        /* policy does not see what is within, and who receives it may take the tag for none */
        'ether type { 8021q, 8021ad } goto spoofed',
        ...claims,
        discovery,
        'udp dport { 67, 547 } accept',
        ...sources,
        'ip saddr 169.254.0.0/16 goto spoofed',
        'ip6 saddr fe80::/10 goto spoofed',
      ],
    ],
    ['prerouting', ['type filter hook prerouting priority filter; policy accept;', 'iifname @ports jump sources']],
  ];
}

/** Name of an empty set that says which version of the fixed part the table has. */
export function bridgeVersion(): string {
  return versionOf(declarations(), chains());
}

/** `known`: all pods' addresses; `pods`: their devices; `bindings`: the devices behind which some of them live. */
export function bridgeRows(
  known: Iterable<Ip>,
  pods: readonly Link[],
  bindings: ReadonlyMap<Ip, Link>,
): Map<string, Row> {
  const ports = pods.filter(({ master }) => master !== '');
  const bridged = [...bindings].filter(([, { master }]) => master !== '');
  if (ports.length === 0) return new Map();
  const row = (name: string, ip: Ip, key: string = ip): Row => ({
    ...{ table: `${name}${familyOf(ip) === 'v4' ? 4 : 6}`, key, value: '' },
  });
  return toRows([
    ...[...known].map((ip) => row('known', ip)),
    ...bridged.flatMap(([ip, { name }]) => [
      row('bound', ip),
      row('behind', ip, `${name} . ${ip}`),
      { table: 'settled', key: name, value: '' },
    ]),
    ...ports.map(({ name }) => ({ table: 'ports', key: name, value: '' })),
  ]);
}

export interface BridgeHeld {
  /** '' where there is no table. */
  readonly version: string;
  readonly chains: ChainDigests;
  readonly rows: Rows;
}

/** One transaction; '' where all is as it should be. `whole`: it makes the table anew. `made`: the chains as they were left. */
export function bridgeChange(have: BridgeHeld, made: ChainDigests, want: Rows): { text: string; whole: boolean } {
  if (have.version === '' && want.size === 0) return { text: '', whole: false };
  const isSame = have.version === bridgeVersion() && changedChains(made, have.chains).length === 0;
  const writes = plan(isSame ? have.rows : new Map(), want, {});
  const stale = writes.flatMap((write) => (write.op === 'delete' ? [write.row] : []));
  const fresh = writes.flatMap((write) => (write.op === 'put' ? [write.row] : []));
  const changes = [...elements('delete', stale, BRIDGE_TABLE), ...elements('add', fresh, BRIDGE_TABLE)];
  const table = isSame ? '' : tableText(BRIDGE_TABLE, declarations(), chains());
  return { text: table + changes.map((line) => `${line}\n`).join(''), whole: !isSame };
}
