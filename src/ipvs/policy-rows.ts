/** What the table `weir-policy` is to hold on this node. Pure. */
import { familyOf } from '../core/net.js';
import type { Roles } from '../core/network.js';
import { type Row, rowKey } from '../core/plan.js';
import type { PolicyState, Subject } from '../core/policy/state.js';
import { blocksOf } from './policy-blocks.js';
import { type Mode, type Program, programOf } from './policy-program.js';
import type { SUBJECTS } from './policy-table.js';

export type PolicyTarget = Pick<PolicyState, 'classes' | 'sets' | 'subjects'>;

export interface PolicyRows {
  /** Rules by chain, but for those of the fixed part. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** Sets of peers: their names tell what they hold. */
  readonly peers: ReadonlySet<string>;
  readonly rows: ReadonlyMap<string, Row>;
}

export function isPeerSet(name: string): boolean {
  return /^(peers|blocks)[46]_/.test(name);
}

export function isProgramChain(name: string): boolean {
  return /^((deny_)?(in|out)(_audit)?|ports)_[0-9a-f]{12}_[0-9a-f]{12}$/.test(name);
}

export function policyRows({ classes, sets, subjects }: PolicyTarget, roles: Roles): PolicyRows {
  const blocks = blocksOf(classes);
  const programs = new Map<string, Program>();
  const rows = new Map<string, Row>();
  const put = (table: string, key: string, value = ''): void => {
    const row = { table, key, value };
    rows.set(rowKey(row), row);
  };
  const program = (name: string, mode: Mode): Program => {
    const known = programs.get(`${mode} ${name}`);
    if (known) return known;
    const set = sets.get(name);
    if (!set) throw new TypeError(`a subject names the set ${name}, which does not exist`);
    const made = programOf(name, set, mode, blocks);
    programs.set(`${mode} ${name}`, made);
    return made;
  };
  for (const [ip, subject] of subjects) {
    const n = familyOf(ip) === 'v4' ? 4 : 6;
    put(`known${n}`, ip, podComment(subject.pod));
    const slots = slotsOf(subject);
    for (const [map, name, mode] of slots) put(`${map}${n}`, ip, `jump ${program(name, mode).entry}`);
    /* what a pod sends to itself through a service comes back to it */
    if (slots.length > 0) put(`self${n}`, `${ip} . ${ip}`);
  }
  for (const { members } of programs.values())
    for (const [table, list] of members) for (const member of list) put(table, member);
  for (const row of deviceRows(roles)) put(row.table, row.key);
  return {
    chains: new Map([...programs.values()].flatMap((made) => [...made.chains])),
    peers: new Set([...programs.values()].flatMap((made) => [...made.members.keys()])),
    rows,
  };
}

type Slot = [map: (typeof SUBJECTS)[number], set: string, mode: Mode];

function slotsOf({ ingress, egress, auditIngress, auditEgress }: Subject): Slot[] {
  const slot = (map: Slot[0], name: string | undefined, mode: Mode): Slot[] =>
    name === undefined ? [] : [[map, name, mode]];
  return [
    ...slot('egress', egress, 'enforce'),
    ...slot('ingress', ingress, 'enforce'),
    ...slot('audit_egress', auditEgress, 'audit'),
    ...slot('audit_ingress', auditIngress, 'audit'),
  ];
}

/** A pod device that is no port of a bridge has a route to each address behind it. */
function deviceRows({ pods, bridges }: Roles): Pick<Row, 'table' | 'key'>[] {
  const inside = [...pods, ...bridges].map(({ name }) => ({ table: 'inside', key: name }));
  const routed = pods.filter(({ master }) => master === '').map(({ name }) => ({ table: 'routed', key: name }));
  return [...inside, ...routed];
}

/** Names that are too long for a comment are cut. */
function podComment(pod: string): string {
  return `comment "${pod.slice(0, 120)}"`;
}

/** The pod that a row of known4 or known6 names. */
export function podOf(row: Row | undefined): string {
  return /^comment "(.*)"$/.exec(row?.value ?? '')?.[1] ?? '';
}
