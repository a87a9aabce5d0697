/** What the table `weir-policy` has recorded: who was denied what, and by which policies. Pure. */
import { type Ip, PROTOCOLS } from '../core/net.js';
import { closestRule } from '../core/policy/closest.js';
import type { NearMiss } from '../core/policy/nearest.js';
import type { Listed } from './policy-kernel.js';
import type { PolicyListing } from './policy-listing.js';
import { RECORD_TIMEOUT, type RecordName, RECORDS, type SUBJECTS } from './policy-table.js';

export interface PolicyRecord {
  readonly reason: string;
  readonly direction: 'ingress' | 'egress';
  readonly source: string;
  readonly destination: string;
  /** In capitals; a number where it has no name here. */
  readonly protocol: string;
  /** 0 where the protocol has none. */
  readonly port: number;
  /** `ns/name` of the one that policy is about, as it is now; '' where it is not known. */
  readonly pod: string;
  /** The isolating policies as `ns/name`, as they are now. */
  readonly policies: readonly string[];
  /** The closest of their rules, as these are now; null: they have none. */
  readonly nearest: NearMiss | null;
  readonly count: number;
  /** s since the last one. */
  readonly age: number;
}

interface Element {
  readonly elem: {
    readonly val: { readonly concat: readonly (string | number)[] };
    readonly expires?: number;
    readonly counter?: { readonly packets: number };
  };
}

/** What the sets of all tables hold, as nft lists them. */
export function policyRecords(listed: readonly Listed[], listing: PolicyListing): PolicyRecord[] {
  return listed.flatMap(({ set }) => {
    const name = /^(?:ports|other)_([a-z_]+)[46]$/.exec(set?.name ?? '')?.[1];
    if (!set || name === undefined || !(name in RECORDS)) return [];
    return (set.elem ?? []).map((element) => recordOf(name as RecordName, element as Element, listing));
  });
}

function recordOf(kind: RecordName, { elem }: Element, listing: PolicyListing): PolicyRecord {
  const { reason, direction } = RECORDS[kind];
  const { val, expires = RECORD_TIMEOUT, counter } = elem;
  const [source, destination] = [`${val.concat[0]}`, `${val.concat[1]}`];
  const [protocol, port] = [protocolText(`${val.concat[2]}`), Number(val.concat[3] ?? 0)];
  const [subject, peer] = (direction === 'ingress' ? [destination, source] : [source, destination]) as [Ip, Ip];
  const map = MAPS[kind];
  const isolation = map && listing.program(map, subject);
  const denied = isolation && { direction, class: isolation.classOf(peer), protocol, port };
  return {
    ...{ reason, direction, source, destination, protocol, port },
    pod: listing.pods.get(subject) ?? '',
    policies: isolation?.policies ?? [],
    nearest: (denied && closestRule(isolation.rules, denied)) ?? null,
    count: counter?.packets ?? 0,
    age: RECORD_TIMEOUT - expires,
  };
}

const MAPS: Readonly<Partial<Record<RecordName, (typeof SUBJECTS)[number]>>> = {
  ingress: 'ingress',
  egress: 'egress',
  audited_ingress: 'audit_ingress',
  audited_egress: 'audit_egress',
};

/** From the name that nftables has for it. */
function protocolText(name: string): string {
  if (name === 'icmp' || name === 'ipv6-icmp') return 'ICMP';
  return PROTOCOLS.find((protocol) => protocol.toLowerCase() === name) ?? name;
}
