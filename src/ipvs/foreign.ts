/** What another hand has changed of ours, in words for the log. */
import { SERVICE_DEVICE } from '../core/network.js';
import { plan } from '../core/plan.js';
import { changedChains } from './chains.js';
import { commands } from './ipvsadm-text.js';
import { type Kernel, ownServers } from './kernel.js';

/** One entry for each change from `known`, what we left, to `now`. Empty where nobody else was there. */
export function foreignChanges(known: Kernel, now: Kernel): string[] {
  const nobody = new Set<never>();
  const { puts, removals } = commands(
    ownServers(known, nobody),
    ownServers({ ...now, addresses: known.addresses }, nobody),
  );
  const table =
    now.version === known.version
      ? [...chainChanges(known, now), ...rowChanges(known, now)]
      : ['table inet weir: removed or replaced'];
  const lost = [...known.addresses].filter((ip) => !now.addresses.has(ip)).map((ip) => `-addr ${ip}`);
  const found = [...now.addresses].filter((ip) => !known.addresses.has(ip)).map((ip) => `+addr ${ip}`);
  const addresses = [...lost, ...found].map((text) => `${SERVICE_DEVICE}: ${text}`);
  return [...[...puts, ...removals].map((text) => `ipvsadm: ${text}`), ...table, ...addresses];
}

/** As the health endpoints have it. */
export const FOREIGN_FAULT =
  'another program has changed virtual servers, tables of nftables or addresses: they are put back';

/** Of changes in one line of the log. */
const SHOWN = 5;

export function summaryOf(changes: readonly string[]): string {
  return changes.slice(0, SHOWN).join(', ') + (changes.length > SHOWN ? `, +${changes.length - SHOWN}` : '');
}

function chainChanges({ chains: known }: Kernel, { chains: now }: Kernel): string[] {
  return changedChains(known, now).map((chain) => `table inet weir: chain ${chain}`);
}

function rowChanges(known: Kernel, now: Kernel): string[] {
  return plan(known.rows, now.rows, {}).map(({ op, row }) => {
    const value = row.value === '' ? '' : ` : ${row.value}`;
    return `table inet weir: ${op === 'put' ? '+' : '-'}${row.table} ${row.key}${value}`;
  });
}
