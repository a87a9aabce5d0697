/** From what the table `weir-policy` holds to what it should, as one transaction of nft -f. Pure. */
import { plan, type Row, type Rows, type Write } from '../core/plan.js';
import { isPeerSet, type PolicyRows } from './policy-rows.js';
import { TABLE } from './policy-table.js';

/** What is there: of chains their names, which tell what they hold, and the number of their rules. */
export interface PolicyHeld {
  readonly chains: ReadonlyMap<string, number>;
  readonly peers: ReadonlySet<string>;
  readonly rows: Rows;
}

export interface PolicyChange {
  readonly text: string;
  /** Elements and chains that change. */
  readonly size: number;
}

/** New chains and sets stand before what leads to them, and go after it; a chain whose rules are not all there is filled anew. */
export function policyChange(have: PolicyHeld, want: PolicyRows): PolicyChange {
  const fresh = [...want.chains].filter(([name, lines]) => have.chains.get(name) !== lines.length);
  const known = fresh.filter(([name]) => have.chains.has(name));
  const gone = [...have.chains.keys()].filter((name) => !want.chains.has(name));
  const freshSets = [...want.peers].filter((name) => !have.peers.has(name));
  const goneSets = [...have.peers].filter((name) => !want.peers.has(name));
  const writes = plan(have.rows, want.rows, {});
  const lines = [
    ...fresh.map(([name]) => `add chain ${TABLE} ${name}`),
    ...known.map(([name]) => `flush chain ${TABLE} ${name}`),
    ...freshSets.map(declaration),
    ...fresh.flatMap(([name, rules]) => rules.map((rule) => `add rule ${TABLE} ${name} ${rule}`)),
    ...elementLines(writes, want, new Set(goneSets)),
    ...gone.map((name) => `flush chain ${TABLE} ${name}`),
    ...gone.map((name) => `delete chain ${TABLE} ${name}`),
    ...goneSets.map((name) => `delete set ${TABLE} ${name}`),
  ];
  return { text: lines.map((line) => `${line}\n`).join(''), size: fresh.length + gone.length + writes.length };
}

function declaration(name: string): string {
  const type = /^[a-z]+4/.test(name) ? 'ipv4_addr' : 'ipv6_addr';
  return `add set ${TABLE} ${name} { type ${type}; ${isWide(name) ? 'flags interval; ' : ''}}`;
}

function isWide(set: string): boolean {
  return set.startsWith('blocks');
}

/** Ranges that change are written as a whole: a new one may overlap one that goes. */
function elementLines(writes: readonly Write[], { rows }: PolicyRows, goneSets: ReadonlySet<string>): string[] {
  const alive = writes.filter(({ row }) => !goneSets.has(row.table));
  const wide = new Set(alive.filter(({ row }) => isWide(row.table)).map(({ row }) => row.table));
  const single = alive.filter(({ row }) => !wide.has(row.table));
  const stale = single.flatMap((write) => (write.op === 'delete' ? [write.row] : (write.before ?? [])));
  const put = single.flatMap((write) => (write.op === 'put' ? [write.row] : []));
  const whole = wide.size === 0 ? [] : [...rows.values()].filter(({ table }) => wide.has(table));
  return [
    ...[...wide].map((name) => `flush set ${TABLE} ${name}`),
    ...elements(
      'delete',
      stale.map((row) => ({ ...row, value: '' })),
    ),
    ...elements('add', [...put, ...whole]),
  ];
}

/** Commands for rows, one a set. */
export function elements(verb: 'add' | 'delete', rows: readonly Row[], place = TABLE): string[] {
  const bySet = new Map<string, string[]>();
  for (const { table, key, value } of rows) {
    const element = value === '' ? key : `${key} ${value.startsWith('comment') ? value : `: ${value}`}`;
    const list = bySet.get(table);
    if (list) list.push(element);
    else bySet.set(table, [element]);
  }
  return [...bySet].map(([set, list]) => `${verb} element ${place} ${set} { ${list.join(', ')} }`);
}

export function isOwnRow({ table }: Row): boolean {
  return (
    isPeerSet(table) ||
    /^(self|known|bound|behind|(audit_)?(in|e)gress)[46]$|^(inside|routed|ports|settled)$/.test(table)
  );
}
