/** Loaded programs: what the kernel knows of them, and running them on a packet of the caller's (BPF_PROG_TEST_RUN). */
import { objectInfo } from './kernel-map.js';
import { type Fd, writeAddress } from './libbpf.js';
import { libbpf } from './native.js';

export interface ProgramInfo {
  readonly type: number;
  readonly id: number;
  readonly name: string;
}

export function programInfo(fd: Fd): ProgramInfo {
  const info = objectInfo(fd, 96); // struct bpf_prog_info, up to its name and a little more
  const name = info.toString('latin1', 64, 80).replace(/\0.*$/s, '');
  return { type: info.readUInt32LE(0), id: info.readUInt32LE(4), name };
}

/** BPF_F_TEST_XDP_LIVE_FRAMES: frames really leave through TX and REDIRECT. */
export const LIVE_FRAMES = 2;

export interface TestRun {
  /** The packet, from the Ethernet header on; 14 bytes at least. */
  readonly data?: Uint8Array;
  /** struct xdp_md or struct __sk_buff, where the program looks at it; of a syscall program: its argument, changed in place. */
  readonly context?: Uint8Array;
  /** Room for the packet and the context that come back; 0 or absent: not wanted. Default for data: 65536 + 256 if given. */
  readonly dataRoom?: number;
  readonly contextRoom?: number;
  readonly repeat?: number;
  readonly flags?: number;
  readonly batchSize?: number;
}

export interface TestResult {
  /** What the program returned, as a signed number (TC_ACT_UNSPEC is -1). */
  readonly verdict: number;
  /** The packet and the context afterwards; empty where none was asked for. */
  readonly data: Buffer;
  readonly context: Buffer;
  /** Mean of one run, in ns. */
  readonly duration: number;
}

const OPTIONS_SIZE = 80; // struct bpf_test_run_opts

/** Runs a program. An ENOSPC means that `dataRoom` was too small. */
export function testRun(program: Fd, run: TestRun = {}): TestResult {
  const frame = prepare(run);
  libbpf.testRun.call('run program', program, frame.options);
  return finish(frame);
}

/** As `testRun`, on another thread: for programs that run long. */
export async function testRunAsync(program: Fd, run: TestRun = {}): Promise<TestResult> {
  const frame = prepare(run);
  await libbpf.testRun.callAsync('run program', program, frame.options);
  return finish(frame);
}

interface Prepared {
  readonly options: Buffer;
  readonly data: Buffer;
  readonly context: Buffer;
}

function prepare(run: TestRun): Prepared {
  const live = ((run.flags ?? 0) & LIVE_FRAMES) !== 0;
  const options = Buffer.alloc(OPTIONS_SIZE);
  const data = Buffer.alloc(run.dataRoom ?? (run.data && !live ? 65536 + 256 : 0));
  const context = Buffer.alloc(run.contextRoom ?? 0);
  options.writeUInt32LE(OPTIONS_SIZE, 0);
  writeAddress(options, 8, run.data ?? null);
  writeAddress(options, 16, data.length > 0 ? data : null);
  options.writeUInt32LE(run.data?.length ?? 0, 24);
  options.writeUInt32LE(data.length, 28);
  writeAddress(options, 32, run.context ?? null);
  writeAddress(options, 40, context.length > 0 ? context : null);
  options.writeUInt32LE(run.context?.length ?? 0, 48);
  options.writeUInt32LE(context.length, 52);
  options.writeInt32LE(run.repeat ?? 0, 60);
  options.writeUInt32LE(run.flags ?? 0, 68);
  options.writeUInt32LE(run.batchSize ?? 0, 76);
  return { options, data, context };
}

function finish({ options, data, context }: Prepared): TestResult {
  return {
    verdict: options.readInt32LE(56),
    data: data.subarray(0, data.length === 0 ? 0 : options.readUInt32LE(28)),
    context: context.subarray(0, context.length === 0 ? 0 : options.readUInt32LE(52)),
    duration: options.readUInt32LE(64),
  };
}
