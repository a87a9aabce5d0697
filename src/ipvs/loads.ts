/** How many connections each real server holds, as ipvsadm -Ln tells it. */
import { runTool } from './tools.js';

const FLAGS: Readonly<Record<string, string>> = { TCP: '-t', UDP: '-u', SCTP: '--sctp-service', FWM: '-f' };

export interface Load {
  /** As `Commands` name it. */
  readonly virtual: string;
  /** Established connections of TCP and SCTP. */
  readonly active: number;
  /** All others: flows of UDP, and connections that begin or end. */
  readonly inactive: number;
}

/** By `virtual server real server` as commands name them. */
export function parseLoads(text: string): Map<string, Load> {
  const loads = new Map<string, Load>();
  let virtual = '';
  for (const line of text.split('\n')) {
    const words = line.trim().split(/\s+/);
    const [kind = '', name = ''] = words;
    const flag = FLAGS[kind];
    if (flag !== undefined) virtual = `${flag} ${name}${words[2] === 'IPv6' ? ' -6' : ''}`;
    const [active = NaN, inactive = 0] = words.slice(-2).map(Number);
    if (kind === '->' && Number.isInteger(active)) loads.set(`${virtual} ${name}`, { virtual, active, inactive });
  }
  return loads;
}

export function readLoads(): Map<string, Load> {
  return parseLoads(runTool('ipvsadm', ['-Ln']));
}
