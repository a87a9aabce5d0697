/**
 * The table `weir` of nftables as text for nft -f: sets and maps whose elements are rows, and chains that never change. One
 * transaction each time, so that no packet meets half of it.
 *
 * IPVS takes a packet for a local address at LOCAL_IN and sends it on through LOCAL_OUT and POSTROUTING, never through FORWARD;
 * its answers cross FORWARD. Marks must be there before LOCAL_IN (and, for processes on this node, before LOCAL_OUT), refusals
 * too; masquerading comes last and is told by conntrack's original destination, for which net.ipv4.vs.conntrack must be 1.
 */
import { familyOf, formatPrefix, type Prefix } from '../core/net.js';
import type { Row, Rows, Write } from '../core/plan.js';
import { type Chains, tableText, versionOf } from './chains.js';
import { keyToken } from './prefixes.js';
import { refusalChains, refusalDeclarations } from './refusals.js';

const PROTOCOLS = ['tcp', 'udp', 'sctp'] as const;

/** Type of each set or map by name; those of frontends and addresses exist once a family. */
const FRONTEND = { 4: 'ipv4_addr . inet_proto . inet_service', 6: 'ipv6_addr . inet_proto . inet_service' } as const;
const ADDRESS = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const;
const PORT = 'inet_proto . inet_service';

function declarations(): string[] {
  const families = ([4, 6] as const).flatMap((family) => {
    const [frontend, address] = [FRONTEND[family], ADDRESS[family]];
    return [
      `set vips${family} { type ${address}; }`,
      `set local${family} { type ${address}; }`,
      `set hairpin${family} { type ${address} . ${address}; }`,
      `set tunnel_sources${family} { type ${address}; flags interval; }`,
      `map tunnel_ends${family} { type ${address} : ${address}; }`,
      `set cluster${family} { type ${address}; flags interval; }`,
      `set services${family} { type ${frontend}; }`,
      `set dsr${family} { type ${frontend}; }`,
      `set dsr_node_ports${family} { type ${PORT}; }`,
      `map node_ports${family} { type ${PORT} : mark; }`,
      `set restricted${family} { type ${frontend}; }`,
      ...PROTOCOLS.map(
        (protocol) =>
          `set admitted_${protocol}${family} { type ${address} . inet_service . ${address}; flags interval; }`,
      ),
      ...['outside', 'inside', 'tunnelled'].map((name) => `map ${name}${family} { type ${frontend} : mark; }`),
      ...['outside', 'inside', 'tunnelled'].map((name) => `set lost_${name}${family} { type ${frontend}; }`),
      `set lost_node_ports${family} { type ${PORT}; }`,
      ...['outside', 'inside', 'tunnelled'].map(
        (name) => `map refused_${name}${family} { type ${frontend} : verdict; }`,
      ),
      `map refused_node_ports${family} { type ${PORT} : verdict; }`,
    ];
  });
  const devices = ['set inside_devices { type ifname; }', 'set bridges { type ifname; }'];
  return [...refusalDeclarations(), ...families, ...devices];
}

/** A rule for each family: `ip` and 4, `ip6` and 6. */
function each(rule: (ip: 'ip' | 'ip6', n: 4 | 6, frontend: string) => string): string[] {
  return [rule('ip', 4, frontendOf('ip')), rule('ip6', 6, frontendOf('ip6'))];
}

/** By number: in /etc/protocols, which nft asks, ipip is another protocol. */
function tunnel(ip: string): string {
  return `meta l4proto ${ip === 'ip' ? 4 : 41} meta protocol ${ip}`;
}

function frontendOf(ip: string): string {
  return `${ip} daddr . meta l4proto . th dport`;
}

/** The port, and the frontend, that a connection began with. Ports have no size for nft before the protocol is known. */
const ORIGINAL_PORT = 'meta l4proto . ct original proto-dst';
function original(ip: string, protocol: (typeof PROTOCOLS)[number]): string {
  return `meta l4proto ${protocol} ct original ${ip} daddr . ${ORIGINAL_PORT}`;
}

const ANSWER = 'tcp flags & (syn | ack) == syn | ack';
const MIDWAY = 'tcp flags & syn == 0x0';
const clamp = (segment: number): string => `tcp option maxseg size set ${segment}`;
const ESTABLISHED = 'ct state established,related return';
/* not the ports of --snat-ports as they are by default: while BPF takes over, or goes, both translate */
const MASQUERADE = 'meta l4proto { tcp, udp, sctp } masquerade to :1024-60999 fully-random';
const TUNNELS = '{ "weir-ipip0", "weir-ip6ip0" }';

function chains({ segment, masqueradeAll, serviceCidr }: TableOptions): Chains {
  /* an address that some service has is on weir-ipvs0; others' (a DNS cache's) are on devices of theirs */
  const unallocated = each((ip, n) => {
    const range = serviceCidr.find(({ address }) => familyOf(address) === (n === 4 ? 'v4' : 'v6'));
    return range ? `${ip} daddr ${formatPrefix(range)} fib daddr type != local goto unallocated` : '';
  }).filter((line) => line !== '');
  return [
    ...refusalChains(),
    ['refuse', ['meta l4proto tcp reject with tcp reset', 'reject with icmpx type port-unreachable']],
    ['outside', each((_, n, frontend) => `meta mark set ${frontend} map @outside${n}`)],
    ['inside', each((_, n, frontend) => `meta mark set ${frontend} map @inside${n}`)],
    /* a node port that another node was asked for names that node's address; a rule whose map has no such key does nothing */
    [
      'tunnelled',
      each(
        (ip, n) => `${ip} daddr @tunnel_sources${n} meta mark set meta l4proto . th dport map @node_ports${n}`,
      ).concat(each((_, n, frontend) => `meta mark set ${frontend} map @tunnelled${n}`)),
    ],
    /* a tunnel that names a pod, as those of nodes with BPF do, ends at the node as well; before conntrack, which need not know it */
    [
      'tunnels_to_pods',
      [
        'type filter hook prerouting priority raw; policy accept;',
        ...each(
          (ip, n) => `${tunnel(ip)} ${ip} saddr @tunnel_sources${n} ${ip} daddr set ${ip} daddr map @tunnel_ends${n}`,
        ),
      ],
    ],
    [
      'prerouting',
      [
        'type filter hook prerouting priority mangle; policy accept;',
        'jump outside',
        'iifname @inside_devices jump inside',
        `iifname ${TUNNELS} jump tunnelled`,
      ],
    ],
    /*
     * before it is routed: 5.10 would send a redirect back to the router, after which it refuses nothing for a while; pods leave by
     * another device than they come from, so nobody redirects them
     */
    [
      'before_routing',
      [
        'type filter hook prerouting priority dstnat + 10; policy accept;',
        ...unallocated.map((rule) => `iifname != @inside_devices ${rule}`),
      ],
    ],
    ['output', ['type route hook output priority mangle; policy accept;', ...ofThisNode('goto process')]],
    ['process', ['jump outside', 'jump inside']],
    [
      'input',
      [
        'type filter hook input priority filter; policy accept;',
        ...each((ip, n) => `${tunnel(ip)} ${ip} saddr != @tunnel_sources${n} goto dsr_source`),
        'jump restricted',
        'iifname @inside_devices jump refused_inside',
        `iifname ${TUNNELS} jump refused_tunnelled`,
        `iifname != @inside_devices iifname != ${TUNNELS} jump refused_outside`,
        ...each((ip, n) => `${ip} daddr @vips${n} jump vips`),
      ],
    ],
    refused('outside'),
    refused('inside'),
    [
      'refused_tunnelled',
      [
        ...each((_, n, frontend) => `${MIDWAY} ${frontend} @lost_tunnelled${n} goto no_endpoint`),
        ...each((ip, n) => {
          const port = `meta l4proto . th dport @lost_node_ports${n}`;
          return `${MIDWAY} ${ip} daddr @tunnel_sources${n} ${port} goto no_endpoint`;
        }),
        `meta l4proto != udp ${ESTABLISHED}`,
        ...each((_, n, frontend) => `${frontend} vmap @refused_tunnelled${n}`),
        ...each((ip, n) => `${ip} daddr @tunnel_sources${n} meta l4proto . th dport vmap @refused_node_ports${n}`),
      ],
    ],
    /*
     * here the source is still the client's own; a set a protocol, because nft 1.0.6 cannot have `meta l4proto` in a key with
     * intervals: kernels refuse the conversion that it asks for
     */
    [
      'restricted',
      PROTOCOLS.flatMap((protocol) =>
        each((ip, n, frontend) => {
          const from = `${ip} daddr . ${protocol} dport . ${ip} saddr != @admitted_${protocol}${n}`;
          return `meta l4proto ${protocol} ${frontend} @restricted${n} ${from} goto source_range`;
        }),
      ),
    ],
    [
      'local_process',
      ['type filter hook output priority filter; policy accept;', ...ofThisNode('jump refused_inside'), ...unallocated],
    ],
    /* an address of ours is no way to what else listens on this node */
    [
      'vips',
      [
        ESTABLISHED,
        ...each((_, n, frontend) => `${frontend} @services${n} return`),
        'meta l4proto { icmp, icmpv6 } return',
        `iifname ${TUNNELS} goto dsr_frontend`,
        'goto unknown_port',
      ],
    ],
    [
      'forward',
      [
        'type filter hook forward priority filter; policy accept;',
        /* what IPVS knows does not come here */
        `iifname ${TUNNELS} goto dsr_frontend`,
        ...unallocated,
        ...each((ip, n) => `${ANSWER} ${original(ip, 'tcp')} @dsr${n} ${clamp(segment[n])}`),
        ...each((ip, n) => {
          const asked = `ct original ${ip} daddr @tunnel_sources${n} ${ORIGINAL_PORT} @dsr_node_ports${n}`;
          return `${ANSWER} meta l4proto tcp ${asked} ${clamp(segment[n])}`;
        }),
      ],
    ],
    [
      'postrouting',
      [
        'type nat hook postrouting priority srcnat; policy accept;',
        ...PROTOCOLS.flatMap((protocol) =>
          each((ip, n) => `${original(ip, protocol)} @services${n} jump masquerading`),
        ),
      ],
    ],
    ['masquerading', masquerading(masqueradeAll)],
  ];
}

/** What this node's own processes say to services: what IPVS hands on by its link (dsr-l2) passes OUTPUT as it came. */
function ofThisNode(verdict: string): string[] {
  return each((_, n, frontend) => `${frontend} @services${n} fib saddr type local ${verdict}`);
}

/**
 * Connections go on with a backend that takes nothing new, and are reset with the last backend that has any: IPVS and conntrack have
 * forgotten them by then (expire_nodest_conn), their segments alone tell.
 */
function refused(side: 'outside' | 'inside'): Chains[number] {
  const lost = each((_, n, frontend) => `${MIDWAY} ${frontend} @lost_${side}${n} goto no_endpoint`);
  const refusals = each((_, n, frontend) => `${frontend} vmap @refused_${side}${n}`);
  return [`refused_${side}`, [...lost, ESTABLISHED, ...refusals]];
}

/** Whose source is replaced, of connections to services that leave here. */
function masquerading(all: boolean): string[] {
  const some = [
    ...each((ip, n) => `iifname @inside_devices ${ip} saddr @cluster${n} return`),
    ...each((ip, n) => `${ip} saddr @vips${n} masquerade fully-random`),
    ...each((ip, n) => `${ip} daddr @local${n} return`),
  ];
  /* DSR changes no source, also where the backend is on this node */
  const every = [
    `iifname ${TUNNELS} return`,
    ...PROTOCOLS.flatMap((protocol) =>
      each((ip, n) => `iifname != @inside_devices ${ip} daddr @local${n} ${original(ip, protocol)} @dsr${n} return`),
    ),
  ];
  return [
    ...each((ip, n) => `${ip} saddr . ${ip} daddr @hairpin${n} masquerade fully-random`),
    /* on its link (dsr-l2) a packet goes on as it came */
    ...each((_, n, frontend) => `${frontend} @services${n} return`),
    /* answers between ports of one bridge would pass us by */
    `iifname @bridges oifname @bridges ${MASQUERADE}`,
    ...(all ? every : some),
    MASQUERADE,
  ];
}

/** What the chains depend on. */
export interface TableOptions {
  readonly segment: Segment;
  /** Replace the source of every translated connection. */
  readonly masqueradeAll: boolean;
  /** Where addresses that no service has are refused; at most one of each family. */
  readonly serviceCidr: readonly Prefix[];
}

/** The largest TCP segments that fit into a tunnel, by family. */
export type Segment = Readonly<Record<4 | 6, number>>;

export const TABLE = 'inet weir';

/** Name of an empty set that says which version of the chains the table has. */
export function versionSet(options: TableOptions): string {
  return versionOf(declarations(), chains(options));
}

/** The whole table with these rows, replacing what was there of it. */
export function wholeTable(rows: Rows, options: TableOptions): string {
  return tableText(TABLE, declarations(), chains(options)) + grouped('add', [...rows.values()]);
}

/**
 * Must the row be there before the virtual servers change? Whose source is replaced is decided by the first packet of a connection;
 * and where nobody is left for what is new, it is the table that says what becomes of it: IPVS would refuse it.
 */
export function comesFirst({ table }: Row): boolean {
  return /^(local|hairpin|refused_\w+)[46]$/.test(table);
}

/** What changes rows that are there. */
export function tableChanges(writes: readonly Write[]): string {
  const stale = writes.flatMap((write) => (write.op === 'delete' ? [write.row] : (write.before ?? [])));
  const fresh = writes.flatMap((write) => (write.op === 'put' ? [write.row] : []));
  return grouped('delete', stale) + grouped('add', fresh);
}

function grouped(verb: 'add' | 'delete', rows: readonly Row[]): string {
  const bySet = new Map<string, Row[]>();
  for (const row of rows) bySet.set(row.table, [...(bySet.get(row.table) ?? []), row]);
  const element = ({ table, key, value }: Row): string => keyToken(table, key) + (value === '' ? '' : ` : ${value}`);
  return [...bySet]
    .map(([set, list]) => `${verb} element ${TABLE} ${set} { ${list.map(element).join(', ')} }\n`)
    .join('');
}
