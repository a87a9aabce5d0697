/**
 * Which chunks of the slots arena are free. Pure: numbers in, numbers out, time as an argument. A chunk's number is
 * segment * perSegment + index; a range never crosses a segment, and chunk 0 is never given away (0 means none).
 */

interface Run {
  start: number;
  length: number;
}

interface Waiting extends Readonly<Run> {
  readonly until: number;
}

export class ChunkAllocator {
  readonly perSegment: number;
  private readonly quarantine: number;
  /** Free runs of each segment, sorted, never touching one another. Starts are global chunk numbers. */
  private readonly free: Run[][] = [];
  /** Length of each range in use, by its first chunk. */
  private readonly used = new Map<number, number>();
  /** Given back, but perhaps still read by a packet that is under way. In order of time. */
  private readonly waiting: Waiting[] = [];

  /** `quarantine`: ms between the release of a chunk and its next use. */
  constructor(perSegment: number, quarantine: number) {
    this.perSegment = perSegment;
    this.quarantine = quarantine;
  }

  get segments(): number {
    return this.free.length;
  }

  /** Makes one more segment available; returns its number. */
  addSegment(): number {
    const segment = this.free.length;
    const start = segment * this.perSegment;
    this.free.push(segment === 0 ? [{ start: 1, length: this.perSegment - 1 }] : [{ start, length: this.perSegment }]);
    return segment;
  }

  /** First chunk of the first free range of `count`, or undefined where no segment has one at time `now` (ms). */
  allocate(count: number, now: number): number | undefined {
    this.mature(now);
    for (const runs of this.free) {
      const at = runs.findIndex((run) => run.length >= count);
      const run = runs[at];
      if (!run) continue;
      const chunk = run.start;
      run.start += count;
      run.length -= count;
      if (run.length === 0) runs.splice(at, 1);
      this.used.set(chunk, count);
      return chunk;
    }
    return undefined;
  }

  /** Marks a range as in use that somebody else allocated, or this process before releaseAll; false where part of it is not free. */
  reserve(chunk: number, count: number): boolean {
    const runs = this.free[Math.floor(chunk / this.perSegment)];
    const at = runs?.findIndex((run) => run.start <= chunk && chunk + count <= run.start + run.length) ?? -1;
    const run = runs?.[at];
    if (!runs || !run) return this.recall(chunk, count);
    const rest = [
      { start: run.start, length: chunk - run.start },
      { start: chunk + count, length: run.start + run.length - chunk - count },
    ];
    runs.splice(at, 1, ...rest.filter(({ length }) => length > 0));
    this.used.set(chunk, count);
    return true;
  }

  /** Gives a range back at time `now` (ms, never less than before). Throws RangeError where it is not in use so. */
  release(chunk: number, count: number, now: number): void {
    if (this.used.get(chunk) !== count) throw new RangeError(`chunks ${chunk}+${count} are not in use as one range`);
    this.used.delete(chunk);
    this.waiting.push({ start: chunk, length: count, until: now + this.quarantine });
  }

  /** Gives everything back at time `now` (ms): what is still in use is reserved again by whoever finds it named. */
  releaseAll(now: number): void {
    for (const [chunk, count] of [...this.used]) this.release(chunk, count, now);
  }

  /** Chunks by state. */
  usage(): { free: number; used: number; waiting: number } {
    const sum = (lengths: Iterable<number>): number => [...lengths].reduce((total, length) => total + length, 0);
    return {
      free: sum(this.free.flat().map((run) => run.length)),
      used: sum(this.used.values()),
      waiting: sum(this.waiting.map((run) => run.length)),
    };
  }

  private recall(chunk: number, count: number): boolean {
    const at = this.waiting.findIndex(({ start, length }) => start === chunk && length === count);
    if (at < 0) return false;
    this.waiting.splice(at, 1);
    this.used.set(chunk, count);
    return true;
  }

  private mature(now: number): void {
    const young = this.waiting.findIndex((run) => run.until > now);
    for (const run of this.waiting.splice(0, young < 0 ? this.waiting.length : young)) this.insert(run);
  }

  /** Puts a run back in order and joins it with its neighbours. */
  private insert({ start, length }: Readonly<Run>): void {
    const runs = this.free[Math.floor(start / this.perSegment)];
    if (!runs) return;
    let at = runs.findIndex((run) => run.start > start);
    if (at < 0) at = runs.length;
    const [before, after] = [runs[at - 1], runs[at]];
    const joined: Run = { start, length };
    const joinsBefore = before !== undefined && before.start + before.length === start;
    const joinsAfter = after !== undefined && start + length === after.start;
    if (joinsBefore) {
      joined.start = before.start;
      joined.length += before.length;
    }
    if (joinsAfter) joined.length += after.length;
    runs.splice(at - (joinsBefore ? 1 : 0), (joinsBefore ? 1 : 0) + (joinsAfter ? 1 : 0), joined);
  }
}
