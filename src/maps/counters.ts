/** What became of packets, by reason: the counters of the programs, summed over the CPUs. */
import { type Counter, REASON, REASON_TEXT } from './layout.js';
import type { Table } from './table.js';

export interface ReasonCount {
  readonly reason: string;
  /** The packet ended here. */
  readonly drop: boolean;
  readonly packets: number;
  readonly bytes: number;
}

/** Every reason that this version knows, also those that nothing has met. One read of the whole map. */
export function readReasons(counters: Table<number, Counter>): ReasonCount[] {
  const found: ReasonCount[] = [];
  for (const [number, perCpu] of counters.entriesPerCpu()) {
    const known = REASON_TEXT[number];
    if (!known) continue;
    let [packets, bytes] = [0n, 0n];
    for (const counter of perCpu) {
      packets += counter.packets;
      bytes += counter.bytes;
    }
    const drop = number < REASON.FORWARDED_NAT;
    found.push({ reason: known.name, drop, packets: Number(packets), bytes: Number(bytes) });
  }
  return found;
}
