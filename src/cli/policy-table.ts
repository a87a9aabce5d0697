/** The matrix of reachability as people read it. */
import type { Reach, ReachChange } from './policy-matrix.js';

const SIGNS: Readonly<Record<Reach['reaches'], string>> = { everything: '.', some: 'o', nothing: 'X' };

/** A grid of signs, a column for each receiver by its number, and the ports of those ways that are open in part. */
export function formatMatrix(ways: readonly Reach[]): string {
  if (ways.length === 0) return 'no two pods\n';
  const names = [...new Set(ways.flatMap(({ from, to }) => [from, to]))].sort();
  const signs = new Map(ways.map((way) => [`${way.from} ${way.to}`, SIGNS[way.reaches]]));
  const width = Math.max(...names.map((name) => name.length)) + `${names.length}`.length + 1;
  const column = `${names.length}`.length + 1;
  const label = (name: string, i: number): string => `${name} ${`${i + 1}`.padStart(`${names.length}`.length)}`;
  const header = ''.padEnd(width) + names.map((_, i) => `${i + 1}`.padStart(column)).join('');
  const rows = names.map((from, i) => {
    const cells = names.map((to) => (signs.get(`${from} ${to}`) ?? '-').padStart(column));
    return label(from, i).padStart(width) + cells.join('');
  });
  const partial = ways
    .filter((way) => way.reaches === 'some')
    .map(({ from, to, ports }) => `${from} -> ${to}  ${ports}`);
  const legend = 'from a row to a column: . everything  o some ports  X nothing  - not asked';
  return `${[header, ...rows, '', legend, ...partial].join('\n')}\n`;
}

/** A line for each way that has changed, what opens first. */
export function formatChanges(changes: readonly ReachChange[]): string {
  if (changes.length === 0) return 'nothing opens or closes\n';
  const ordered = [...changes].sort((a, b) => (a.change === b.change ? 0 : a.change === 'opens' ? -1 : 1));
  return ordered.map(({ from, to, change, ports }) => `${change.padEnd(6)}  ${from} -> ${to}  ${ports}\n`).join('');
}
