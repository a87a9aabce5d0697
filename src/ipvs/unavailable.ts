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
