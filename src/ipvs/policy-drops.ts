/** What the table `weir-policy` has recorded: who was denied what, and by which policies. Pure. */
import type { Row } from '../core/plan.js';
import { rowKey } from '../core/plan.js';
import type { PolicyKernel } from './policy-kernel.js';
import { podOf } from './policy-rows.js';
import { RECORD_TIMEOUT, type RecordName, RECORDS } from './policy-table.js';

export interface PolicyRecord {
  readonly reason: string;
  readonly direction: 'ingress' | 'egress';
  readonly source: string;
  readonly destination: string;
  /** As nftables calls it. */
  readonly protocol: string;
  /** 0 where the protocol has none. */
  readonly port: number;
  /** `ns/name` of the one that policy is about, as it is now; '' where it is not known. */
  readonly pod: string;
  /** The isolating policies as `ns/name`, as they are now. */
  readonly policies: readonly string[];
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

export function policyRecords({ listed, rows }: Pick<PolicyKernel, 'listed' | 'rows'>): PolicyRecord[] {
  const policies = policiesOf({ listed, rows });
  return listed.flatMap(({ set }) => {
    const name = /^(?:ports|other)_([a-z_]+)[46]$/.exec(set?.name ?? '')?.[1];
    if (!set || name === undefined || !(name in RECORDS)) return [];
    const kind = name as RecordName;
    const { reason, direction } = RECORDS[kind];
    return (set.elem ?? []).map((element) => {
      const { val, expires = RECORD_TIMEOUT, counter } = (element as Element).elem;
      const [source = '', destination = '', protocol = '', port = 0] = val.concat;
      const subject = `${direction === 'ingress' ? destination : source}`;
      return {
        ...{ reason, direction, source: `${source}`, destination: `${destination}` },
        protocol: `${protocol}`,
        port: Number(port),
        pod: podOf(rows.get(rowKey({ table: `known${familyDigit(subject)}`, key: subject }))),
        policies: policies(kind, subject),
        count: counter?.packets ?? 0,
        age: RECORD_TIMEOUT - expires,
      };
    });
  });
}

function familyDigit(ip: string): 4 | 6 {
  return ip.includes(':') ? 6 : 4;
}

const MAPS: Readonly<Partial<Record<RecordName, string>>> = {
  ingress: 'ingress',
  egress: 'egress',
  audited_ingress: 'audit_ingress',
  audited_egress: 'audit_egress',
};

/** From an address to its first chain, to the one that denies, whose rules are commented with the policies. */
function policiesOf({
  listed,
  rows,
}: Pick<PolicyKernel, 'listed' | 'rows'>): (kind: RecordName, subject: string) => readonly string[] {
  const denials = new Map<string, string>();
  const comments = new Map<string, string>();
  for (const { rule } of listed) {
    if (!rule) continue;
    const target = rule.expr?.find((part) => part.goto)?.goto?.target;
    if (target?.startsWith('deny_')) denials.set(rule.chain, target);
    if (rule.comment !== undefined) comments.set(rule.chain, (comments.get(rule.chain) ?? '') + rule.comment);
  }
  return (kind, subject) => {
    const map = MAPS[kind];
    if (map === undefined) return [];
    const verdict: Row | undefined = rows.get(rowKey({ table: `${map}${familyDigit(subject)}`, key: subject }));
    const entry = verdict?.value.replace(/^jump /, '') ?? '';
    return comments.get(denials.get(entry) ?? '')?.split(',') ?? [];
  };
}
