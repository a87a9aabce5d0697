/** What a service asks for that IPVS has not, and what it gets instead. */
import type { DesiredService } from '../core/desired.js';
import type { Problem } from '../core/model.js';

export function unavailable({ key, ports }: DesiredService): Problem[] {
  const frontends = ports.flatMap((port) => port.frontends);
  const object = `Service ${key}`;
  const problems: Problem[] = [];
  if (frontends.some(({ scheduler }) => scheduler === 'random')) {
    const message = 'IPVS has no scheduler random: rr is used, which spreads as evenly';
    problems.push({ object, field: 'scheduler', message });
  }
  return problems;
}

/** Of a virtual server that another program has made, as ipvsadm names it. */
export function takenProblem(key: string): Problem {
  const message =
    'another program has this virtual server (ipvsadm -Sn shows it): it is left alone and ours not served';
  return { object: `virtual server ${key}`, field: '', message };
}
