/** What of the IPVS dataplane there is in this network namespace, as steps that remove it. */
import { rmSync } from 'node:fs';
import { hasTunnelRule, ourDevices, removeDevice, removeTunnelRule } from '../ipvs/devices.js';
import { removeVirtualServer } from '../ipvs/ipvsadm.js';
import { ownServers, readKernel } from '../ipvs/kernel.js';
import { removeTable } from '../ipvs/nft.js';
import { BRIDGE_TABLE } from '../ipvs/policy-bridge.js';
import { readPolicyTable } from '../ipvs/policy-kernel.js';
import { TABLE as POLICY_TABLE } from '../ipvs/policy-table.js';
import { TABLE } from '../ipvs/ruleset.js';
import { claimedAddresses, networkNamespace, readState } from '../ipvs/state-file.js';
import { type Removal, restoring, type Step } from './removal.js';

/** Settings for which `kept` answers yes stay. Throws where the dataplane is in another network namespace than this process. */
export function ipvsRemoval(directory: string, kept: (path: string) => boolean = () => false): Removal {
  const state = readState(directory);
  if (state && state.netns !== networkNamespace())
    throw new Error(
      `clean up ${directory}: its agent worked in another network namespace: run this there (nsenter --net)`,
    );
  const kernel = readKernel(false);
  const servers: Step[] = [...ownServers(kernel, claimedAddresses(state)).keys()].map((key) => ({
    verb: 'remove',
    what: `virtual server ${key}`,
    carryOut: () => removeVirtualServer(key),
  }));
  const policies = [POLICY_TABLE, BRIDGE_TABLE].filter((name) => readPolicyTable(name).version !== '');
  const tables: Step[] = [...(kernel.version === '' ? [] : [TABLE]), ...policies].map((name) => ({
    verb: 'remove',
    what: `the table ${name} of nftables`,
    carryOut: () => removeTable(name),
  }));
  const devices: Step[] = ourDevices().map((name) => ({
    verb: 'remove',
    what: `device ${name}`,
    carryOut: () => removeDevice(name),
  }));
  const rules: Step[] = (['v4', 'v6'] as const).filter(hasTunnelRule).map((family) => ({
    verb: 'remove',
    what: `the rule and the table of routes for what comes through tunnels (${family === 'v4' ? 'IPv4' : 'IPv6'})`,
    carryOut: () => removeTunnelRule(family),
  }));
  const changed = Object.entries(state?.sysctls ?? {}).map(([path, values]) => ({ path, ...values }));
  const settings = restoring(changed.filter(({ path }) => !kept(path)));
  const rest: Step = {
    verb: 'remove',
    what: directory,
    last: true,
    carryOut: () => rmSync(directory, { recursive: true }),
  };
  return {
    steps: [...devices, ...rules, ...servers, ...tables, ...settings.steps, rest],
    notes: settings.notes,
  };
}
