/** Assertions about an outcome. A test says what must have happened; everything it does not name must not have. */
import type { ExecutionContext } from 'ava';
import { decode } from './decode.js';
import type { Packet } from './frames.js';
import type { Outcome } from './harness.js';
import type { SeenDrop } from './observer.js';

export interface Expected {
  readonly verdict: string;
  /** The packet that came out, field by field, all checksums right. */
  readonly packet?: Packet;
  /** Not one byte of it has changed. */
  readonly untouched?: Packet;
  readonly counters?: Readonly<Record<string, number>>;
  /** Reasons of the drops that are remembered, or all about them. */
  readonly drops?: readonly (string | Partial<SeenDrop>)[];
}

export function happened(t: ExecutionContext, outcome: Outcome, expected: Expected): void {
  t.is(outcome.verdict, expected.verdict);
  t.deepEqual(outcome.counters, expected.counters ?? {}, 'counters that moved');
  if (expected.packet) t.deepEqual(outcome.packet, decode(expected.packet.bytes()), 'the packet that came out');
  if (expected.untouched) t.is(outcome.frame.toString('hex'), expected.untouched.bytes().toString('hex'), 'untouched');
  const drops = expected.drops ?? [];
  t.is(outcome.drops.length, drops.length, 'drops that are remembered');
  drops.forEach((drop, i) => t.like(outcome.drops[i], typeof drop === 'string' ? { reason: drop } : drop));
}

/** The packet goes on to the stack as it came, and nobody took notice. */
export function passedUntouched(t: ExecutionContext, outcome: Outcome, packet: Packet): void {
  happened(t, outcome, { verdict: outcome.verdict.startsWith('XDP') ? 'XDP_PASS' : 'TC_ACT_OK', untouched: packet });
}

/** The port that a frame left with as its source. */
export function sourcePort(outcome: Outcome): number {
  for (const layer of ['tcp', 'udp', 'sctp']) {
    const fields = outcome.packet[layer];
    if (typeof fields === 'object') return Number(fields['source']);
  }
  return 0;
}
