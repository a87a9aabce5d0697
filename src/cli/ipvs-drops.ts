/** What ended here in the IPVS dataplane, from nftables and the files of the state directory. */
import type { Ip } from '../core/net.js';
import { parseTable, readTable } from '../ipvs/nft.js';
import { BRIDGE_TABLE } from '../ipvs/policy-bridge.js';
import { type PolicyRecord, policyRecords } from '../ipvs/policy-drops.js';
import { readPolicyTable } from '../ipvs/policy-kernel.js';
import { policyListing } from '../ipvs/policy-listing.js';
import { refusalReason } from '../ipvs/refusals.js';
import { readState, stateDirectory } from '../ipvs/state-file.js';
import { isLocked } from '../loader/pins.js';
import type { DropRow } from './drops.js';
import { ipvsDirectory } from './ipvs-who.js';

/** Oldest first; undefined where no agent has used IPVS with this --bpf-root, or one uses BPF now. `now`: ms since 1970. */
export function readIpvsDrops(bpfRoot: string, now: number): DropRow[] | undefined {
  const state = readState(stateDirectory(bpfRoot));
  if (!state || isLocked(bpfRoot)) return undefined;
  const kernel = readPolicyTable();
  const listing = policyListing(kernel);
  const all = [...kernel.listed, ...readPolicyTable(BRIDGE_TABLE).listed];
  const nameOf = ipvsDirectory(bpfRoot, state, listing.pods);
  return [...policyRecords(all, listing), ...serviceRecords()]
    .sort((a, b) => b.age - a.age)
    .map(({ age, ...record }) => {
      const sourceName = nameOf(record.source as Ip);
      const destinationName = nameOf(record.destination as Ip);
      const otherName = record.direction === 'ingress' ? sourceName : destinationName;
      return {
        time: new Date(now - age * 1000).toISOString(),
        ...record,
        ...{ sourceName, destinationName, hook: 'nft' },
        peer: record.pod === '' ? sourceName || destinationName : otherName,
      };
    });
}

/** Of packets to services, which name no pod and no policy. */
function serviceRecords(): PolicyRecord[] {
  const table = readTable();
  return (table === undefined ? [] : parseTable(table).records).flatMap((record) => {
    const reason = refusalReason(record);
    const { source, destination, protocol, port, count, age } = record;
    const nobody = { pod: '', policies: [], nearest: null };
    const ends = { source, destination, protocol, port, count, age };
    return reason === undefined ? [] : [{ reason, direction: 'ingress', ...ends, ...nobody }];
  });
}
