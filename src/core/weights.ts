/** Weights of backends: how a service says them, and turns that are taken in their proportion. */
import { resourceLabel, type Problem, type Service } from './model.js';
import { parseIp } from './net.js';

export const DEFAULT_WEIGHT = 1;
export const WEIGHT_RANGE = 'a whole number from 0 to 100';
const WEIGHTS_ANNOTATION = 'weir.io/weights';

/** The weights of endpoints, by pod or address: undefined where the service says nothing of it. */
export type WeightOf = (endpoint: { readonly pod?: string; readonly address: string }) => number | undefined;

/** 0 to 100, or undefined. */
export function parseWeight(text: string): number | undefined {
  return /^(\d{1,2}|100)$/.test(text.trim()) ? Number(text) : undefined;
}

/**
 * Reads `weir.io/weights`: NAME=WEIGHT[,NAME=WEIGHT...], each name that of a pod or an address. An address counts before the pod's
 * name. Entries that are not understood are one problem, and the others count.
 */
export function readWeights(service: Service, problems: Problem[]): WeightOf {
  const text = service.annotations[WEIGHTS_ANNOTATION];
  if (text === undefined) return () => undefined;
  const weights = new Map<string, number>();
  const bad: string[] = [];
  for (const entry of text.split(',').map((each) => each.trim())) {
    const [, name = '', number = ''] = /^([^=\s]+)\s*=\s*(\S+)$/.exec(entry) ?? [];
    const weight = name === '' ? undefined : parseWeight(number);
    if (weight !== undefined) weights.set(parseIp(name) ?? name, weight);
    else if (entry !== '') bad.push(`'${entry}'`);
  }
  if (bad.length > 0) {
    const message = `${bad.join(', ')}: must be NAME=WEIGHT with a pod or an address and ${WEIGHT_RANGE}: ignored`;
    problems.push({ object: resourceLabel(service), field: `metadata.annotations[${WEIGHTS_ANNOTATION}]`, message });
  }
  return ({ pod, address }) => weights.get(address) ?? (pod === undefined ? undefined : weights.get(pod));
}

interface Group {
  readonly members: readonly number[];
  readonly weight: number;
  credit: number;
  turns: number;
}

/**
 * The shortest rotation in which everybody has turns in proportion to their weight, spread out (a a b a, not a a a b): smooth
 * weighted round robin among groups of equal weight, whose members take turns. Returns indices into weights; 0 takes no turn.
 */
export function rotation(weights: readonly number[]): number[] {
  const divisor = weights.reduce(gcd, 0);
  if (divisor === 0) return [];
  const groups = [...new Set(weights)]
    .filter((weight) => weight > 0)
    .sort((a, b) => b - a)
    .map((weight): Group => {
      const members = weights.flatMap((each, index) => (each === weight ? [index] : []));
      return { members, weight: (members.length * weight) / divisor, credit: 0, turns: 0 };
    });
  const total = groups.reduce((sum, group) => sum + group.weight, 0);
  return Array.from({ length: total }, () => {
    for (const group of groups) group.credit += group.weight;
    const next = groups.reduce((best, group) => (group.credit > best.credit ? group : best));
    next.credit -= total;
    return next.members[next.turns++ % next.members.length]!;
  });
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
