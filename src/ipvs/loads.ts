/** How many connections each real server holds, as ipvsadm -Ln tells it. */
import { runTool } from './tools.js';

const FLAGS: Readonly<Record<string, string>> = { TCP: '-t', UDP: '-u', SCTP: '--sctp-service', FWM: '-f' };

/** Active and inactive ones, by `virtual server real server` as commands name them. */
export function parseLoads(text: string): Map<string, number> {
  const loads = new Map<string, number>();
  let virtual = '';
  for (const line of text.split('\n')) {
    const words = line.trim().split(/\s+/);
    const [kind = '', name = ''] = words;
    const flag = FLAGS[kind];
    if (flag !== undefined) virtual = `${flag} ${name}${words[2] === 'IPv6' ? ' -6' : ''}`;
    const [active, inactive] = words.slice(-2).map(Number);
    if (kind === '->' && Number.isInteger(active)) loads.set(`${virtual} ${name}`, (active ?? 0) + (inactive ?? 0));
  }
  return loads;
}

export function readLoads(): Map<string, number> {
  return parseLoads(runTool('ipvsadm', ['-Ln']));
}
