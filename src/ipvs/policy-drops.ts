/** What the table `weir-policy` has recorded: who was denied what, and by which policies. Pure. */
import type { Ip } from '../core/net.js';
import { closestRule } from '../core/policy/closest.js';
import type { NearMiss } from '../core/policy/nearest.js';
import type { Listed } from './policy-kernel.js';
import type { PolicyListing } from './policy-listing.js';
import { type RecordName, RECORDS, type SUBJECTS } from './policy-table.js';
import { type RecordElement, recordElements } from './records.js';

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

/** What the sets of all tables hold, as nft lists them. */
export function policyRecords(listed: readonly Listed[], listing: PolicyListing): PolicyRecord[] {
  return listed
    .flatMap(({ set }) => recordElements(set?.name ?? '', set?.elem ?? []))
    .flatMap((record) => (record.name in RECORDS ? [recordOf(record, listing)] : []));
}

function recordOf({ name, ...record }: RecordElement, listing: PolicyListing): PolicyRecord {
  const kind = name as RecordName;
  const { reason, direction } = RECORDS[kind];
  const { source, destination, protocol, port } = record;
  const [subject, peer] = (direction === 'ingress' ? [destination, source] : [source, destination]) as [Ip, Ip];
  const map = MAPS[kind];
  const isolation = map && listing.program(map, subject);
  const denied = isolation && { direction, class: isolation.classOf(peer), protocol, port };
  return {
    ...{ reason, direction, ...record },
    pod: listing.pods.get(subject) ?? '',
    policies: isolation?.policies ?? [],
    nearest: (denied && closestRule(isolation.rules, denied)) ?? null,
  };
}

const MAPS: Readonly<Partial<Record<RecordName, (typeof SUBJECTS)[number]>>> = {
  ingress: 'ingress',
  egress: 'egress',
  audited_ingress: 'audit_ingress',
  audited_egress: 'audit_egress',
};
