/** What the table `weir-policy` is to hold on this node. Pure. */
import { familyOf, type Ip } from '../core/net.js';
import type { Roles } from '../core/network.js';
import { type Row, type Rows, toRows } from '../core/plan.js';
import type { PolicySet, PolicyState, Subject } from '../core/policy/state.js';
import { Blocks } from './policy-blocks.js';
import { type Members, type Mode, moved, type Program, programOf } from './policy-program.js';
import type { SUBJECTS } from './policy-table.js';

export type PolicyTarget = Pick<PolicyState, 'classes' | 'sets' | 'subjects'>;

export interface PolicyRows {
  /** Rules by chain, but for those of the fixed part. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** Sets of peers: their names tell what they hold. */
  readonly members: Members;
  /** All other elements. */
  readonly rows: Rows;
}

export function isPeerSet(name: string): boolean {
  return /^(peers|blocks)[46]_/.test(name);
}

export function isProgramChain(name: string): boolean {
  return /^((deny_)?(in|out)(_audit)?|ports)_[0-9a-f]{12}_[0-9a-f]{12}$/.test(name);
}

interface Compiled {
  readonly set: PolicySet;
  readonly program: Program;
}

/** Compiles again and again; what has not changed is not looked at, and its sets stay the same objects. */
export class PolicyCompilation {
  readonly #blocks = new Blocks();
  #programs: ReadonlyMap<string, Compiled> = new Map();

  rows({ classes, sets, subjects }: PolicyTarget, roles: Roles): PolicyRows {
    const changed = this.#blocks.follow(classes);
    const programs = new Map<string, Compiled>();
    const program = (name: string, mode: Mode): Program => {
      const key = `${mode} ${name}`;
      const made = programs.get(key) ?? this.#compile(name, mode, sets.get(name), changed);
      programs.set(key, made);
      return made.program;
    };
    const rows: Row[] = deviceRows(roles);
    for (const [ip, subject] of subjects) rows.push(...subjectRows(ip, subject, program));
    this.#programs = programs;
    const all = [...programs.values()].map((made) => made.program);
    return {
      chains: new Map(all.flatMap((made) => [...made.chains])),
      members: new Map(all.flatMap((made) => [...made.members])),
      rows: toRows(rows),
    };
  }

  #compile(name: string, mode: Mode, set: PolicySet | undefined, changed: readonly Ip[] | 'all'): Compiled {
    if (!set) throw new TypeError(`a subject names the set ${name}, which does not exist`);
    const known = this.#programs.get(`${mode} ${name}`);
    const kept = known?.set === set && changed !== 'all' ? moved(known.program, this.#blocks, changed) : undefined;
    return { set, program: kept ?? programOf(name, set, mode, this.#blocks) };
  }
}

function subjectRows(ip: Ip, subject: Subject, program: (name: string, mode: Mode) => Program): Row[] {
  const n = familyOf(ip) === 'v4' ? 4 : 6;
  const slots = slotsOf(subject);
  const known = { table: `known${n}`, key: ip, value: podComment(subject.pod) };
  if (slots.length === 0) return [known];
  return [
    known,
    /* what a pod sends to itself through a service comes back to it */
    { table: `self${n}`, key: `${ip} . ${ip}`, value: '' },
    ...slots.map(([map, name, mode]) => ({ table: `${map}${n}`, key: ip, value: `jump ${program(name, mode).entry}` })),
  ];
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
function deviceRows({ pods, bridges }: Roles): Row[] {
  const inside = [...pods, ...bridges].map(({ name }) => ({ table: 'inside', key: name, value: '' }));
  const routed = pods
    .filter(({ master }) => master === '')
    .map(({ name }) => ({ table: 'routed', key: name, value: '' }));
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
