/** Packets to services that end here, by the reasons that both dataplanes have: chains of the table `weir`, and what they tell. Pure. */
import { countDeclaration, countPacket, type RecordElement, recordPacket, recordSets } from './records.js';

/** By name of the chain, whether the sender is told. */
export const REFUSALS = {
  no_endpoint: { reason: 'no-endpoint', told: true },
  no_local_endpoint: { reason: 'no-local-endpoint', told: false },
  source_range: { reason: 'source-range', told: false },
  unknown_port: { reason: 'unknown-port', told: true },
  unallocated: { reason: 'unallocated', told: true },
  dsr_source: { reason: 'dsr-source', told: false },
  /* the nodes disagree for a moment: a client that asks again is heard by then */
  dsr_frontend: { reason: 'dsr-frontend', told: false },
} as const;
export type Refusal = keyof typeof REFUSALS;

export const REFUSAL_NAMES = Object.keys(REFUSALS) as Refusal[];

export function refusalDeclarations(): string[] {
  return REFUSAL_NAMES.flatMap((name) => [countDeclaration(name), ...recordSets(name)]);
}

/** To be reached by `goto`. */
export function refusalChains(): [name: Refusal, lines: readonly string[]][] {
  return REFUSAL_NAMES.map((name) => [
    name,
    [countPacket(name), ...recordPacket(name), REFUSALS[name].told ? 'goto refuse' : 'drop'],
  ]);
}

/** The reason of a record, as `weir drops` calls it; undefined: no service is concerned. */
export function refusalReason({ name }: Pick<RecordElement, 'name'>): string | undefined {
  return name in REFUSALS ? REFUSALS[name as Refusal].reason : undefined;
}
