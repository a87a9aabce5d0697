/**
 * The table `weir-policy` of nftables: the part of it that does not depend on policies. It is not the table of services, so that
 * neither waits for, nor is built anew because of, the other.
 *
 * Every packet of an isolated pod is judged, not only the first of its connection, and always by the connection: its first
 * source before any translation, the address and port after every translation. So a policy that changes is in force for live
 * flows at once, without an epoch or marks, and replies need no rule of their own.
 *
 * What is forwarded crosses FORWARD. What IPVS hands on to a pod crosses LOCAL_OUT instead, where this node's own words are told
 * by their local source and let through; in both `reject` is possible, in POSTROUTING it is not. No packet crosses both.
 */
import { type Chains, tableText, versionOf } from './chains.js';
import { countDeclaration, countPacket, recordSets } from './records.js';

export const TABLE = 'inet weir-policy';

export interface TableOptions {
  readonly keepEstablished: boolean;
  readonly denyUnknown: boolean;
  /** What is recorded is also told to LOG_GROUP, some of it each second. */
  readonly log: boolean;
}

/** Of nfnetlink_log, as kube-router has it: tcpdump -i nflog:100. */
const LOG_GROUP = 100;

/** A ruleset that only a kernel takes that can log to a group. */
export const LOG_PROBE = `table inet weir-probe { chain log { log group ${LOG_GROUP}; }; }\n`;

/** What is recorded, and the reason by which `weir drops` calls it. */
export const RECORDS = {
  ingress: { reason: 'policy-ingress', direction: 'ingress' },
  egress: { reason: 'policy-egress', direction: 'egress' },
  audited_ingress: { reason: 'audited', direction: 'ingress' },
  audited_egress: { reason: 'audited', direction: 'egress' },
  unknown_to: { reason: 'unknown-endpoint', direction: 'ingress' },
  unknown_from: { reason: 'unknown-endpoint', direction: 'egress' },
  spoofed: { reason: 'spoofed-source', direction: 'egress' },
} as const;
export type RecordName = keyof typeof RECORDS;
export const RECORD_NAMES = Object.keys(RECORDS) as RecordName[];

/** Maps of subjects in the order in which they are asked. */
export const SUBJECTS = ['egress', 'ingress', 'audit_egress', 'audit_ingress'] as const;

/** A connection that was under way before anybody looked carries this label; connlabel.conf names none so high. */
const UNDER_WAY = 'ct label 122';

const FAMILIES = [
  { n: 4, ip: 'ip', type: 'ipv4_addr', none: '0.0.0.0' },
  { n: 6, ip: 'ip6', type: 'ipv6_addr', none: '::' },
] as const;

function declarations(): string[] {
  const families = FAMILIES.flatMap(({ n, type }) => [
    `set self${n} { type ${type} . ${type}; }`,
    `set known${n} { type ${type}; }`,
    ...SUBJECTS.map((name) => `map ${name}${n} { type ${type} : verdict; }`),
  ]);
  return [
    ...RECORD_NAMES.flatMap((name) => [countDeclaration(name), ...recordSets(name)]),
    ...families,
    'set inside { type ifname; }',
    'set routed { type ifname; }',
    'set grace { type nf_proto; flags timeout; }',
  ];
}

const PORTED = ['tcp', 'udp', 'sctp'] as const;

/** A record is of the connection; where there is none, of the packet. */
function recordChain(name: RecordName, log: boolean): string[] {
  const { reason, direction } = RECORDS[name];
  const told = `limit rate 10/second burst 20 packets log prefix "weir ${reason} ${direction} " group ${LOG_GROUP}`;
  const records = FAMILIES.flatMap(({ n, ip }) => {
    const ends = `ct original ${ip} saddr . ct reply ${ip} saddr . meta l4proto`;
    return [
      ...PORTED.map(
        (protocol) =>
          `meta l4proto ${protocol} update @ports_${name}${n} { ${ends} . ct reply proto-src counter } return`,
      ),
      `meta l4proto != { tcp, udp, sctp } update @other_${name}${n} { ${ends} counter } return`,
      `meta l4proto { tcp, udp, sctp } update @ports_${name}${n} { ${ip} saddr . ${ip} daddr . meta l4proto . th dport counter } return`,
      `update @other_${name}${n} { ${ip} saddr . ${ip} daddr . meta l4proto counter } return`,
    ];
  });
  return [countPacket(name), ...(log ? [told] : []), ...records];
}

function judges(): Chains {
  return FAMILIES.flatMap(({ n, ip }) => [
    [
      `judge${n}`,
      [
        `ct original ${ip} saddr . ct reply ${ip} saddr @self${n} return`,
        `ct original ${ip} saddr vmap @egress${n}`,
        `ct reply ${ip} saddr vmap @ingress${n}`,
        `ct state new ct original ${ip} saddr vmap @audit_egress${n}`,
        `ct state new ct reply ${ip} saddr vmap @audit_ingress${n}`,
      ],
    ],
    /* without a connection nothing is matched but what anyone may */
    [`stray${n}`, [`${ip} saddr vmap @egress${n}`, `${ip} daddr vmap @ingress${n}`]],
  ]);
}

/** A connection that came from a device of a pod with an address that no pod has: what IPVS sends on has no device any more. */
const STRANGE = 'ct label 121';

const STRANGERS = FAMILIES.flatMap(({ n, ip }) => [
  `iifname @inside ${ip} saddr != @known${n} goto unknown_from`,
  `oifname @inside ${ip} daddr != @known${n} goto unknown_to`,
]);

function chains({ keepEstablished, denyUnknown, log }: TableOptions): Chains {
  return [
    ...RECORD_NAMES.map((name): [string, string[]] => [`record_${name}`, recordChain(name, log)]),
    ...['unknown_to', 'unknown_from', 'spoofed'].map((name): [string, string[]] => [
      name,
      [`jump record_${name}`, 'drop'],
    ]),
    ['strangers', STRANGERS],
    ...judges(),
    [
      'judge',
      [
        'icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect } ip6 hoplimit 255 return',
        'icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } return',
        ...(denyUnknown ? ['jump strangers'] : []),
        /* errors about a connection go where its packets go */
        'ct state related meta l4proto { icmp, icmpv6 } return',
        ...(keepEstablished ? ['ct state established return'] : []),
        `meta nfproto @grace ct state new tcp flags & (syn | ack) == ack ${UNDER_WAY.replace('label', 'label set')}`,
        `${UNDER_WAY} tcp flags & (syn | ack) != syn return`,
        'ct state invalid,untracked goto stray',
        'meta nfproto vmap { ipv4 : goto judge4, ipv6 : goto judge6 }',
      ],
    ],
    ['stray', ['meta nfproto vmap { ipv4 : goto stray4, ipv6 : goto stray6 }']],
    ['forward', ['type filter hook forward priority filter; policy accept;', 'jump judge']],
    [
      'output',
      [
        'type filter hook output priority filter; policy accept;',
        'fib saddr type local accept',
        /* a reset with which somebody else's packet was rejected; it carries nothing */
        'tcp flags & rst == rst accept',
        ...(denyUnknown ? FAMILIES.map(({ n, ip }) => `${STRANGE} ${ip} saddr != @known${n} goto unknown_from`) : []),
        'jump judge',
      ],
    ],
    [
      'prerouting',
      [
        'type filter hook prerouting priority mangle; policy accept;',
        ...FAMILIES.map(
          ({ ip, none }) => `iifname @routed ${ip} saddr != ${none} fib saddr . iif oif missing jump spoofed`,
        ),
        ...(denyUnknown
          ? FAMILIES.map(
              ({ n, ip }) =>
                `iifname @inside ${ip} saddr != @known${n} ct state new ${STRANGE.replace('label', 'label set')}`,
            )
          : []),
      ],
    ],
  ];
}

/** Name of an empty set that says which version of the fixed part the table has. */
export function versionSet(options: TableOptions): string {
  return versionOf(declarations(), chains(options));
}

/**
 * The fixed part, replacing the table with all that it holds. `grace`: seconds for which TCP connections are let through that
 * nobody saw begin.
 */
export function emptyTable(options: TableOptions, grace: number): string {
  const seconds = Math.round(grace);
  const open = `add element ${TABLE} grace { ipv4 timeout ${seconds}s, ipv6 timeout ${seconds}s }\n`;
  return tableText(TABLE, declarations(), chains(options)) + (seconds > 0 ? open : '');
}
