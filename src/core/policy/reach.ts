/** Which ports one party reaches at another: everything that lies between two numbers that no policy names is alike. */
import type { NetworkPolicy, PolicyPort } from '../model.js';
import { PROTOCOLS, type Protocol } from '../net.js';
import { type Cluster, evaluate, type Party } from './evaluate.js';

export interface PortRange {
  readonly protocol: Protocol;
  readonly first: number;
  readonly last: number;
}

const LAST_PORT = 65535;
export const EVERY_PORT: readonly PortRange[] = PROTOCOLS.map((protocol) => ({ protocol, first: 1, last: LAST_PORT }));

/** The numbers at which a verdict may change, in order, from 1. */
export function turningPoints(clusters: readonly Cluster[]): number[] {
  const points = new Set([1]);
  const add = (first: number, last: number): void => {
    points.add(first);
    if (last < LAST_PORT) points.add(last + 1);
  };
  for (const { policies, pods } of clusters) {
    let named = false;
    for (const port of [...policies.values()].flatMap(portsOf)) {
      if ('range' in port) add(...port.range);
      else if ('name' in port) named = true;
    }
    if (named) for (const pod of pods.values()) for (const { port } of pod.ports) add(port, port);
  }
  return [...points].sort((a, b) => a - b);
}

function portsOf({ ingress = [], egress = [] }: NetworkPolicy): PolicyPort[] {
  return [...ingress, ...egress].flatMap((rule) => rule.ports);
}

/** The ranges that are open, given the turning points (or the one port that is asked for). */
export function openPorts(cluster: Cluster, from: Party, to: Party, points: readonly number[]): PortRange[] {
  return PROTOCOLS.flatMap((protocol) => {
    const ranges: { protocol: Protocol; first: number; last: number }[] = [];
    for (const [i, port] of points.entries()) {
      if (!evaluate(cluster, from, to, { protocol, port }).allowed) continue;
      const last = (points[i + 1] ?? LAST_PORT + 1) - 1;
      const open = ranges.at(-1);
      if (open?.last === port - 1) open.last = last;
      else ranges.push({ protocol, first: port, last });
    }
    return ranges;
  });
}

/** What is in a and not in b. */
export function without(a: readonly PortRange[], b: readonly PortRange[]): PortRange[] {
  let rest = [...a];
  for (const cut of b) {
    rest = rest.flatMap((range) => {
      if (range.protocol !== cut.protocol || cut.last < range.first || range.last < cut.first) return [range];
      const left = { ...range, last: cut.first - 1 };
      const right = { ...range, first: cut.last + 1 };
      return [left, right].filter((part) => part.first <= part.last);
    });
  }
  return rest;
}

/** `tcp/80, tcp/8000-8010, udp`; `everything`; `nothing`. */
export function rangesText(ranges: readonly PortRange[]): string {
  if (ranges.length === 0) return 'nothing';
  if (without(EVERY_PORT, ranges).length === 0) return 'everything';
  return ranges.map(rangeText).join(', ');
}

function rangeText({ protocol, first, last }: PortRange): string {
  const name = protocol.toLowerCase();
  if (first === 1 && last === LAST_PORT) return name;
  return first === last ? `${name}/${first}` : `${name}/${first}-${last}`;
}
