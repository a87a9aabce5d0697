/** What services ask for and do not get from IPVS, and what they get instead. */
import type { DesiredService } from '../core/desired.js';
import type { Problem } from '../core/model.js';
import type { Ip } from '../core/net.js';
import { SERVICE_DEVICE } from '../core/network.js';
import type { Row } from '../core/plan.js';
import { commands } from './ipvsadm-text.js';
import type { Placed } from './placement.js';
import { matchText, type VirtualServer, type VirtualServers } from './virtual.js';

/** `taken`: addresses at which another program has virtual servers. */
export function unavailable(services: Iterable<DesiredService>, taken: ReadonlySet<Ip>): Problem[] {
  return [...services].flatMap((service) => {
    const object = `Service ${service.key}`;
    const frontends = service.ports.flatMap((port) => port.frontends);
    const problems: Problem[] = [];
    if (frontends.some(({ scheduler }) => scheduler === 'random')) {
      const message = 'IPVS has no scheduler random: rr is used, which spreads as evenly';
      problems.push({ object, field: 'scheduler', message });
    }
    for (const address of new Set(frontends.map((frontend) => frontend.address).filter((ip) => taken.has(ip)))) {
      const message = `another program has virtual servers at ${address} (ipvsadm -Sn shows them): they are left alone and ours not served`;
      problems.push({ object, field: '', message });
    }
    return problems;
  });
}

export interface Refused {
  readonly problems: readonly Problem[];
  /** To be in the table, so that nobody else answers in place of a virtual server that is not there. */
  readonly rows: readonly Row[];
}

/** What of the virtual servers of services, by key, is not there though ipvsadm was told: nothing where it had no complaint. */
export function refusedServers(
  placed: ReadonlyMap<string, Placed>,
  complaint: string,
  read: () => VirtualServers,
): Refused {
  if (complaint === '') return { problems: [], rows: [] };
  const there = read();
  const all = [...placed].flatMap(([key, { servers }]) => servers.map((server) => ({ key, server })));
  const refused = all.filter(({ server }) => !isThere(server, there));
  const missing = refused.filter(({ server }) => !there.has(matchText(server.match)));
  return {
    problems: refused.map(({ key, server }) => refusedProblem(key, server, complaint)),
    rows: missing.flatMap(({ server }) => server.refused),
  };
}

function isThere(server: VirtualServer, there: VirtualServers): boolean {
  const key = matchText(server.match);
  const now = there.get(key);
  return now !== undefined && commands(new Map([[key, now]]), new Map([[key, server]])).puts.length === 0;
}

function refusedProblem(service: string, { match, scheduler }: VirtualServer, complaint: string): Problem {
  const subject = `virtual server ${matchText(match)}`;
  if (!/scheduler/i.test(complaint))
    return { object: `Service ${service}`, field: '', message: `${subject}: ipvsadm says: ${complaint}` };
  const message = `${subject}: the kernel module ip_vs_${scheduler} is not there`;
  return { object: `Service ${service}`, field: 'scheduler', message, code: 'WEIR_KERNEL_MODULE' };
}

/** Of addresses that weir-ipvs0 was to have and has not. */
export function unboundProblems(wanted: Iterable<Ip>, bound: ReadonlySet<Ip>, complaint: string): Problem[] {
  const message = `is not served: ${SERVICE_DEVICE} cannot have it: ${complaint}`;
  return [...wanted]
    .filter((address) => !bound.has(address))
    .map((address) => ({ object: `address ${address}`, field: '', message }));
}
