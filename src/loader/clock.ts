/** The kernel's clocks: the one of deadlines, and the tick in which the programs time flows. */
import { sys } from './native.js';

const CLOCK_MONOTONIC_COARSE = 6;

/** ms of CLOCK_MONOTONIC: the same for every process since the kernel started. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

/** One moment on both clocks: it was tick `ticks` at `ticksTime` ns of CLOCK_MONOTONIC. */
export interface Moment {
  readonly ticks: bigint;
  readonly ticksTime: bigint;
}

/** The tick it is now. */
export function ticksNow({ ticks, ticksTime }: Moment): bigint {
  return ticks + ((process.hrtime.bigint() - ticksTime) * BigInt(ticksPerSecond())) / 1_000_000_000n;
}

/** CONFIG_HZ of the running kernel: the coarse clock advances once a tick (clock_getres(2)). */
export function ticksPerSecond(): number {
  const resolution = Buffer.alloc(16);
  sys.clockGetRes.call('read the length of a tick', CLOCK_MONOTONIC_COARSE, resolution);
  const seconds = Number(resolution.readBigInt64LE(0)) + Number(resolution.readBigInt64LE(8)) / 1e9;
  return Math.round(1 / seconds);
}
