/**
 * The slots arena: tables of backend ids in memory that is shared with the programs. Segments are pinned as weir_slots_N,
 * made when they are needed and never removed while the dataplane exists. What is written is visible at once: write a
 * table first, publish its chunk number afterwards.
 */
import { join } from 'node:path';
import { WeirError } from '../errors.js';
import { KernelError } from '../loader/errors.js';
import {
  createMap,
  lookupElement,
  loadBtf,
  mapInfo,
  mapMemory,
  type MappedMap,
  openPinned,
  pin,
  updateElement,
} from '../loader/kernel-map.js';
import { closeFd, type Fd } from '../loader/libbpf.js';
import { ChunkAllocator } from './chunks.js';
import { encodeOne, u32Codec } from './codec.js';
import { MAPS, SEGMENT, WEIR_CHUNKS_PER_SEGMENT, WEIR_MAX_SEGMENTS, WEIR_SLOTS_PER_CHUNK } from './layout.js';
import { wordsBtf } from './words-btf.js';

/** ms during which a packet may still read a table that was replaced. */
const QUARANTINE = 1000;
const SEGMENT_BYTES = SEGMENT.valueSize * SEGMENT.maxEntries;

/** `read` numbers new ranges as `write` would, but makes and publishes nothing: for finding out what would be done. */
export type Access = 'read' | 'write';

export class SlotArena implements Disposable {
  private readonly root: string;
  private readonly access: Access;
  private readonly outer: Fd;
  private readonly chunks = new ChunkAllocator(WEIR_CHUNKS_PER_SEGMENT, QUARANTINE);
  private readonly mapped: MappedMap[] = [];
  private readonly words: Uint32Array[] = [];
  private disposed = false;

  /** Opens the arena pinned below `root` with all segments that exist; all their chunks count as free until reserved. */
  constructor(root: string, access: Access = 'write') {
    this.root = root;
    this.access = access;
    const path = join(root, MAPS.weir_slots.name);
    const outer = openPinned(path);
    if (outer === undefined) throw new WeirError('WEIR_NOT_INSTALLED', `open the slots: nothing is pinned at ${path}`);
    this.outer = outer;
    try {
      for (let segment = 0; segment < WEIR_MAX_SEGMENTS; segment++) {
        const fd = openPinned(this.segmentPath(segment));
        if (fd === undefined) break;
        this.adopt(fd);
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Chunks by state: free, in use, waiting for their reuse. */
  usage(): { free: number; used: number; waiting: number } {
    return this.chunks.usage();
  }

  /** First chunk of a new range that holds `words` ids. Makes a segment where none has room; throws WEIR_FULL at the end. */
  allocate(words: number, now: number): number {
    const count = chunksFor(words);
    const full = (why: string): WeirError => new WeirError('WEIR_FULL', `allocate ${words} slots: ${why}`);
    if (count > WEIR_CHUNKS_PER_SEGMENT - 1) throw full('more than one segment holds');
    let chunk = this.chunks.allocate(count, now);
    if (chunk === undefined) {
      if (this.chunks.segments >= WEIR_MAX_SEGMENTS)
        throw full(`all ${WEIR_MAX_SEGMENTS} segments of weir_slots are in use`);
      this.grow();
      chunk = this.chunks.allocate(count, now);
    }
    if (chunk === undefined) throw full('a new segment has no room');
    return chunk;
  }

  /** Gives a range back; it is not given out again within a second of `now` (ms). */
  free(chunk: number, words: number, now: number): void {
    this.chunks.release(chunk, chunksFor(words), now);
  }

  /** Gives all ranges back, before those that pinned frontends name are reserved anew. */
  freeAll(now: number): void {
    this.chunks.releaseAll(now);
  }

  /** Takes over a range that a pinned frontend names, at restart; false where it is not free. */
  reserve(chunk: number, words: number): boolean {
    return this.chunks.reserve(chunk, chunksFor(words));
  }

  /** Writes a table from the beginning of a range. */
  write(chunk: number, words: Uint32Array): void {
    this.place(chunk, words.length).set(words);
  }

  /** A copy of the first `words` ids of a range. */
  read(chunk: number, words: number): Uint32Array {
    return this.place(chunk, words).slice();
  }

  [Symbol.dispose](): void {
    this.words.length = 0; // before the memory goes: nothing may touch it afterwards
    for (const memory of this.mapped.splice(0)) memory[Symbol.dispose]();
    if (!this.disposed) closeFd(this.outer);
    this.disposed = true;
  }

  private place(chunk: number, words: number): Uint32Array {
    const segment = this.words[Math.floor(chunk / WEIR_CHUNKS_PER_SEGMENT)];
    const start = (chunk % WEIR_CHUNKS_PER_SEGMENT) * WEIR_SLOTS_PER_CHUNK;
    if (!segment || chunk === 0 || start + words > segment.length) {
      throw new RangeError(`chunk ${chunk} with ${words} slots lies outside the arena`);
    }
    return segment.subarray(start, start + words);
  }

  private grow(): void {
    if (this.access === 'read') {
      this.chunks.addSegment();
      return;
    }
    const segment = this.chunks.segments;
    const fd = createSegment(`weir_slots_${segment}`);
    try {
      pin(fd, this.segmentPath(segment));
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    this.adopt(fd);
  }

  /** Maps a segment, makes sure that the programs see it, and closes `fd`: the pin and the mapping keep the map. */
  private adopt(fd: Fd): void {
    try {
      const info = mapInfo(fd);
      const segment = this.chunks.segments;
      if (info.valueSize !== SEGMENT.valueSize || info.maxEntries !== SEGMENT.maxEntries) {
        const has = `${info.maxEntries} x ${info.valueSize} bytes`;
        const wants = `${SEGMENT.maxEntries} x ${SEGMENT.valueSize}`;
        throw new WeirError('WEIR_LAYOUT', `open weir_slots_${segment}: it has ${has} where this program has ${wants}`);
      }
      const memory = mapMemory(fd, SEGMENT_BYTES);
      this.mapped.push(memory);
      this.words.push(new Uint32Array(memory.bytes.buffer, memory.bytes.byteOffset, SEGMENT_BYTES / 4));
      if (this.access === 'write') this.publish(segment, fd, info.id);
      this.chunks.addSegment();
    } finally {
      closeFd(fd);
    }
  }

  /** An update waits for all readers in the kernel (5-32 ms): only where the programs do not have it yet. */
  private publish(segment: number, fd: Fd, id: number): void {
    const key = encodeOne(u32Codec, segment);
    const present = Buffer.alloc(4);
    if (lookupElement(this.outer, key, present) && present.readUInt32LE(0) === id) return;
    updateElement(this.outer, key, encodeOne(u32Codec, fd));
  }

  private segmentPath(segment: number): string {
    return join(this.root, `weir_slots_${segment}`);
  }
}

function chunksFor(words: number): number {
  return Math.max(1, Math.ceil(words / WEIR_SLOTS_PER_CHUNK));
}

/** With types, so that bpftool prints numbers; a kernel that refuses them gets the map without. */
function createSegment(name: string): Fd {
  let btf: Fd | undefined;
  try {
    btf = loadBtf(wordsBtf(WEIR_SLOTS_PER_CHUNK));
    return createMap(name, SEGMENT, { btf, keyType: 1, valueType: 2 });
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return createMap(name, SEGMENT);
  } finally {
    if (btf !== undefined) closeFd(btf);
  }
}
