/** v1 Node -> model. */
import { asRecord, Field, NONE, readIps, readText, type Fault } from './objects-field.js';
import type { Identity, Reading } from './objects-meta.js';
import { formatPrefix, parsePrefix } from './net.js';

const ZONE_LABEL = 'topology.kubernetes.io/zone';
/** The cluster autoscaler's mark on a node that it is about to remove. */
const LEAVING_TAINT = 'ToBeDeletedByClusterAutoscaler';

/** Reads a Node: its addresses, pod ranges, zone and whether it stays. The API checks no Node address, so a wrong one is noted and left out. */
export function readNode(root: Field, id: Identity): Reading {
  const notes: Fault[] = [];
  const entries = root.at('status').object().at('addresses').items();
  const ofType = (type: string): Field[] => {
    const matching = entries
      .filter((entry) => entry.object().at('type').value === type)
      .map((entry) => entry.at('address'));
    return matching.map((field) => new Field(field.value, field.path, notes));
  };
  const internalIps = readIps(ofType('InternalIP'));
  const externalIps = readIps(ofType('ExternalIP'));
  return {
    notes,
    resource: {
      kind: 'Node',
      name: id.name,
      addresses: [...new Set([...internalIps, ...externalIps])],
      internalIps,
      podCidrs: readPodCidrs(root.at('spec').object()),
      zone: readText(root.at('metadata').at('labels').object().at(ZONE_LABEL)),
      eligible: isEligible(root),
    },
  };
}

function isEligible(root: Field): boolean {
  const taints = root.at('spec').object().at('taints').items();
  const leaving = taints.some((taint) => asRecord(taint.value)?.['key'] === LEAVING_TAINT);
  return root.at('metadata').at('deletionTimestamp').absent && !leaving;
}

function readPodCidrs(spec: Field): readonly string[] {
  const list = spec.at('podCIDRs').items();
  const single = spec.at('podCIDR');
  const fields = list.length > 0 || single.absent || single.value === '' ? list : [single];
  const cidrs: string[] = [];
  for (const field of fields) {
    const prefix = typeof field.value === 'string' ? parsePrefix(field.value) : undefined;
    if (prefix) cidrs.push(formatPrefix(prefix));
    else field.expected('an address range such as 10.244.1.0/24');
  }
  return cidrs.length > 0 ? cidrs : NONE;
}
