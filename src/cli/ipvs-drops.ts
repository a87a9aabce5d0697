/** What ended here in the IPVS dataplane, from nftables alone. */
import { PROTOCOLS } from '../core/net.js';
import { BRIDGE_TABLE } from '../ipvs/policy-bridge.js';
import { type PolicyRecord, policyRecords } from '../ipvs/policy-drops.js';
import { parseTable, readTable } from '../ipvs/nft.js';
import { readPolicyTable } from '../ipvs/policy-kernel.js';
import { refusalReason } from '../ipvs/refusals.js';
import { readState, stateDirectory } from '../ipvs/state-file.js';
import { isLocked } from '../loader/pins.js';
import type { DropRow } from './drops.js';

/** Oldest first; undefined where no agent has used IPVS with this --bpf-root, or one uses BPF now. `now`: ms since 1970. */
export function readIpvsDrops(bpfRoot: string, now: number): DropRow[] | undefined {
  if (!readState(stateDirectory(bpfRoot)) || isLocked(bpfRoot)) return undefined;
  const { listed, rows: known } = readPolicyTable();
  const all = [...listed, ...readPolicyTable(BRIDGE_TABLE).listed];
  const rows = [...policyRecords({ listed: all, rows: known }), ...serviceRecords()];
  return rows
    .sort((a, b) => b.age - a.age)
    .map(({ age, protocol, ...record }) => ({
      time: new Date(now - age * 1000).toISOString(),
      ...record,
      protocol: PROTOCOLS.find((name) => name.toLowerCase() === protocol) ?? protocol,
      hook: 'nft',
      ...{ sourceName: '', destinationName: '', peer: '', nearest: null },
    }));
}

/** Of packets to services, which name no pod and no policy. */
function serviceRecords(): PolicyRecord[] {
  const table = readTable();
  return (table === undefined ? [] : parseTable(table).records).flatMap((record) => {
    const reason = refusalReason(record);
    const { source, destination, protocol, port, count, age } = record;
    const ends = { source, destination, protocol, port, count, age };
    return reason === undefined ? [] : [{ reason, direction: 'ingress', ...ends, pod: '', policies: [] }];
  });
}
