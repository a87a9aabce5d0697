/** ns per packet of XDP and TC programs: see wrap.bpf.c for the method. Every figure is paired with a program that does nothing. */
import { readFileSync } from 'node:fs';
import { BpfObject } from '../src/loader/object.js';
import { updateElement, lookupElement } from '../src/loader/kernel-map.js';
import type { Fd } from '../src/loader/libbpf.js';
import { testRun } from '../src/loader/program.js';

/** struct run of wrap.bpf.c */
const RUN = {
  length: 0,
  mask: 4,
  step: 8,
  source: 12,
  next: 16,
  packets: 24,
  lost: 40,
  grown: 48,
  blocks: 56,
  packet: 568,
  size: 632,
};
const BLOCKS = 64;
const BLOCK_PACKETS = 4096;
const SCATTER = 2654435761;

export interface Stream {
  readonly protocol: 'tcp' | 'udp';
  readonly destination: string;
  readonly port: number;
  /** Of TCP: SYN, or a packet of an established connection. */
  readonly syn: boolean;
  /** Number of flows, a power of two. */
  readonly flows: number;
  /** All flows are sent once before the measurement. */
  readonly warm: boolean;
  /** The device at whose TC hook the packet is; absent: XDP. */
  readonly tcDevice?: number;
}

/** Programs of either hook. */
type Hooks = Readonly<Record<'xdp' | 'tc', Fd>>;

export interface Figure {
  /** ns a packet above the program that does nothing: median of the repetitions, and their range. */
  readonly net: number;
  readonly min: number;
  readonly max: number;
  readonly hook: 'xdp' | 'tc';
  /** The hook's code of the last packet, and whether packets came back longer. */
  readonly verdict: number;
  readonly encapsulated: boolean;
}

export class Stopwatch implements Disposable {
  readonly #object: BpfObject;
  readonly #wrap: Hooks;
  readonly #run: Fd;
  readonly #target: Hooks;
  readonly #noop: Hooks;

  constructor(wrapper: string, noop: Hooks) {
    readFileSync(wrapper);
    this.#object = new BpfObject(wrapper);
    this.#object.load();
    const maps = this.#object.maps();
    const bss = [...maps.keys()].find((name) => name.endsWith('.bss')) ?? '';
    this.#run = required(maps.get(bss), '.bss').fd();
    const programs = this.#object.programs();
    const map = (name: string): Fd => required(maps.get(name), name).fd();
    const program = (name: string): Fd => required(programs.get(name), name).fd();
    this.#target = { xdp: map('target'), tc: map('target_tc') };
    this.#wrap = { xdp: program('wrap'), tc: program('wrap_tc') };
    this.#noop = noop;
  }

  measure(program: Fd, stream: Stream, repetitions = 5, calls = 4): Figure {
    const packet = build(stream);
    if (stream.warm) this.#warm(program, stream);
    let next = 0n;
    const nets: number[] = [];
    let last = { verdict: -1, grown: 0n };
    this.#time(program, stream, packet, 0n, 2);
    for (let i = 0; i < repetitions; i++) {
      const idle = this.#time(this.#noop[hookOf(stream)], stream, packet, next, calls);
      const busy = this.#time(program, stream, packet, next, calls);
      next = busy.next;
      last = busy;
      nets.push(busy.ns - idle.ns);
    }
    nets.sort((a, b) => a - b);
    const at = (index: number): number => Math.round((nets[index] ?? 0) * 10) / 10;
    return {
      net: at(nets.length >> 1),
      min: at(0),
      max: at(nets.length - 1),
      hook: hookOf(stream),
      verdict: last.verdict,
      encapsulated: last.grown > 0n,
    };
  }

  [Symbol.dispose](): void {
    this.#object[Symbol.dispose]();
  }

  /** Every flow twice: opened, then established; slowly enough for a limiter of new flows per second. */
  #warm(program: Fd, stream: Stream): void {
    const opening = build({ ...stream, syn: true });
    const chunk = Math.min(stream.flows, 65536);
    for (let done = 0; done < stream.flows; done += chunk) {
      this.#send(program, stream, opening, BigInt(done), chunk, 1);
      if (stream.flows > chunk) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1100);
    }
    for (let done = 0; done < stream.flows; done += chunk) {
      this.#send(program, stream, build(stream), BigInt(done), chunk, 1);
    }
  }

  #time(program: Fd, stream: Stream, packet: Buffer, next: bigint, calls: number) {
    const blocks: number[] = [];
    let state = { next, verdict: -1, grown: 0n };
    for (let i = 0; i < calls; i++) {
      const run = this.#send(program, stream, packet, state.next, BLOCKS * BLOCK_PACKETS + 1, SCATTER);
      for (let block = 0; block < BLOCKS; block++) {
        blocks.push(Number(run.memory.readBigUInt64LE(RUN.blocks + block * 8)) / BLOCK_PACKETS);
      }
      state = {
        next: run.memory.readBigUInt64LE(RUN.next),
        verdict: run.verdict,
        grown: run.memory.readBigUInt64LE(RUN.grown),
      };
    }
    blocks.sort((a, b) => a - b);
    return { ...state, ns: blocks[blocks.length >> 1] ?? 0 }; // the median block: what preempts us is in few of them
  }

  #send(program: Fd, stream: Stream, packet: Buffer, next: bigint, repeat: number, step: number) {
    const memory = Buffer.alloc(RUN.size);
    memory.writeUInt32LE(packet.length, RUN.length);
    memory.writeUInt32LE(stream.flows - 1, RUN.mask);
    memory.writeUInt32LE(step, RUN.step);
    memory.writeUInt32LE(0x0a800000, RUN.source);
    memory.writeBigUInt64LE(next, RUN.next);
    packet.copy(memory, RUN.packet, 0, 64);
    const key = Buffer.alloc(4);
    const value = Buffer.alloc(4);
    value.writeInt32LE(program);
    updateElement(this.#target[hookOf(stream)], key, value);
    updateElement(this.#run, key, memory);
    const { verdict } = testRun(this.#wrap[hookOf(stream)], {
      data: packet,
      dataRoom: 2048,
      repeat,
      ...(stream.tcDevice === undefined ? {} : { context: skbContext(stream.tcDevice) }),
    });
    lookupElement(this.#run, key, memory);
    if (memory.readBigUInt64LE(RUN.lost) > 0n)
      throw new Error('the tail call failed: is the program of the type of its hook, XDP without frags?');
    return { memory, verdict };
  }
}

function hookOf(stream: Stream): 'xdp' | 'tc' {
  return stream.tcDevice === undefined ? 'xdp' : 'tc';
}

/** struct __sk_buff: the device a packet came from, and the one it is at. */
function skbContext(ifindex: number): Buffer {
  const context = Buffer.alloc(192);
  context.writeUInt32LE(ifindex, 36);
  context.writeUInt32LE(ifindex, 40);
  return context;
}

function required<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new Error(`the object has no ${name}: run make bench`);
  return value;
}

/** A 64-byte packet; its addresses and source port are overwritten for each flow, its checksums do not matter here. */
function build({ protocol, destination, port, syn }: Stream): Buffer {
  const packet = Buffer.alloc(64);
  Buffer.from([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0]).copy(packet);
  packet.writeUInt16BE(50, 16);
  packet[20] = 0x40;
  packet[22] = 64;
  packet[23] = protocol === 'tcp' ? 6 : 17;
  destination.split('.').forEach((byte, index) => (packet[30 + index] = Number(byte)));
  packet.writeUInt16BE(port, 36);
  if (protocol === 'udp') packet.writeUInt16BE(30, 38);
  else {
    packet[46] = 0x50;
    packet[47] = syn ? 2 : 16;
  }
  return packet;
}
