/**
 * The border to native code: the only file that knows ffi-napi. native.ts lists what is called through it. Functions of libbpf and libc are called through frames that
 * are built once (3-5 us a call, where an ordinary ffi-napi call takes 40-100 us and leaves garbage until the loop turns).
 *
 * Every buffer that is passed, directly or through writeAddress, is held until the call returns. A failure becomes a
 * KernelError here; an errno that a caller expects comes back as a negative number from `attempt`.
 */
import type { Bindings, Cif, Ffi } from 'ffi-napi';
import type { Ref } from 'ref-napi';
import { closeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { WeirError } from '../errors.js';
import { KernelError } from './errors.js';

declare const fdBrand: unique symbol;
declare const pointerBrand: unique symbol;
/** An open file descriptor, owned by whoever received it. */
export type Fd = number & { readonly [fdBrand]: 'Fd' };
/** Address of something that native code owns. 0 is NULL. */
export type Pointer = number & { readonly [pointerBrand]: 'Pointer' };

/** Bytes are passed by address, null as NULL, numbers by value (up to 2^53). */
export type Argument = number | Uint8Array | null;
export type Kind = 'int' | 'uint32' | 'uint64' | 'pointer';

interface Native {
  readonly ffi: Ffi;
  readonly bindings: Bindings;
  readonly ref: Ref;
}
let loaded: Native | undefined;

/** The packages are loaded at the first call: that takes a third of the time in which `weir` starts, and some commands make none. */
function native(): Native {
  return (loaded ??= load());
}

function load(): Native {
  const require = createRequire(import.meta.url);
  return {
    ffi: require('ffi-napi') as Ffi,
    bindings: require('ffi-napi/lib/bindings.js') as Bindings,
    ref: require('ref-napi') as Ref,
  };
}

const LIBRARIES = { libbpf: 'libbpf.so.1', libc: 'libc.so.6' } as const;
const libraries = new Map<string, { get(symbol: string): Buffer }>();
const WORD = 8;

interface Frame {
  /** Addresses of the slots, as libffi wants them. */
  readonly table: Buffer;
  /** The arguments themselves, 8 bytes each. */
  readonly slots: Buffer;
  readonly result: Buffer;
}

/** Buffers whose addresses were handed out since the last call: alive until the next call has returned. */
const held: Uint8Array[] = [];

/** A native function. `R` says what its result is read as: a signed int, or an address. */
export class NativeFunction {
  readonly name: string;
  private readonly library: keyof typeof LIBRARIES;
  private readonly result: 'int' | 'pointer';
  private readonly kinds: readonly Kind[];
  private prepared: { cif: Cif; symbol: Buffer; frame: Frame } | undefined;

  constructor(library: keyof typeof LIBRARIES, name: string, result: 'int' | 'pointer', kinds: readonly Kind[]) {
    this.library = library;
    this.name = name;
    this.result = result;
    this.kinds = kinds;
  }

  /** The result as it is; a negative one is -errno (functions of libc answer -1: errno is read for them). */
  attempt(...values: Argument[]): number {
    const { cif, symbol, frame } = this.prepare();
    this.fill(frame, values);
    native().bindings.ffi_call(cif, symbol, frame.result, frame.table);
    const result = this.read(frame);
    held.length = 0;
    return result === -1 && this.library === 'libc' ? -native().ffi.errno() : result;
  }

  /** The result, or a KernelError that begins with `action`: a negative int, or a NULL pointer. */
  call(action: string, ...values: Argument[]): number {
    const result = this.attempt(...values);
    if (this.result === 'pointer' && result === 0) throw new KernelError(this.name, native().ffi.errno(), action);
    if (result < 0) throw new KernelError(this.name, -result, action);
    return result;
  }

  /** As `call`, on a thread of libuv's pool: for what takes long. */
  async callAsync(action: string, ...values: Argument[]): Promise<number> {
    const { cif, symbol } = this.prepare();
    const frame = makeFrame(this.kinds.length);
    this.fill(frame, values);
    const alive = held.splice(0);
    const result = await new Promise<number>((resolve, reject) => {
      native().bindings.ffi_call_async(cif, symbol, frame.result, frame.table, (error) => {
        alive.length = 0;
        if (error) reject(error);
        else resolve(this.read(frame));
      });
    });
    if (result < 0) throw new KernelError(this.name, -result, action);
    return result;
  }

  private prepare(): { cif: Cif; symbol: Buffer; frame: Frame } {
    this.prepared ??= {
      cif: native().ffi.CIF(
        native().ref.coerceType(this.result),
        this.kinds.map((kind) => native().ref.coerceType(kind)),
      ),
      symbol: openLibrary(LIBRARIES[this.library]).get(this.name),
      frame: makeFrame(this.kinds.length),
    };
    return this.prepared;
  }

  private fill(frame: Frame, values: readonly Argument[]): void {
    if (values.length !== this.kinds.length) throw new TypeError(`${this.name} takes ${this.kinds.length} arguments`);
    for (let i = 0; i < values.length; i++) writeArgument(frame.slots, i * WORD, values[i] ?? null);
  }

  private read(frame: Frame): number {
    if (this.result === 'int' || frame.result.readBigInt64LE(0) === -1n) return frame.result.readInt32LE(0);
    return readWord(frame.result, 0);
  }
}

function openLibrary(path: string): { get(symbol: string): Buffer } {
  const known = libraries.get(path);
  if (known) return known;
  try {
    const opened = new (native().ffi.DynamicLibrary)(path);
    libraries.set(path, opened);
    if (path === LIBRARIES.libbpf) silence();
    return opened;
  } catch (cause) {
    throw new WeirError('WEIR_TOOL', `open library ${path}: install it (Debian: libbpf1)`, { cause });
  }
}

/** libbpf's own words are not wanted on standard error: the errors thrown here carry what matters. */
function silence(): void {
  const waiting = held.splice(0);
  new NativeFunction('libbpf', 'libbpf_set_print', 'pointer', ['pointer']).attempt(null);
  held.push(...waiting);
}

function makeFrame(count: number): Frame {
  // Never from the pool: their addresses are written down once.
  const table = Buffer.alloc(Math.max(1, count) * WORD);
  const slots = Buffer.alloc(Math.max(1, count) * WORD);
  for (let i = 0; i < count; i++) native().ref.writePointer(table, i * WORD, slots.subarray(i * WORD, (i + 1) * WORD));
  return { table, slots, result: Buffer.alloc(WORD) };
}

/** Numbers that may be negative only ever fill an int, whose four low bytes are the same either way. */
function writeArgument(slots: Buffer, offset: number, value: Argument): void {
  if (typeof value === 'number') writeWord(slots, offset, value);
  else writeAddress(slots, offset, value);
}

function writeWord(buffer: Buffer, offset: number, value: number): void {
  buffer.writeInt32LE(value | 0, offset);
  buffer.writeInt32LE(Math.floor(value / 0x1_0000_0000) | 0, offset + 4);
}

function readWord(buffer: Buffer, offset: number): number {
  return buffer.readUInt32LE(offset) + buffer.readUInt32LE(offset + 4) * 0x1_0000_0000;
}

/** Puts the address of `target` into a struct that is passed to the next call; `target` is held until that call returns. */
export function writeAddress(struct: Buffer, offset: number, target: Uint8Array | null): void {
  if (target === null) {
    writeWord(struct, offset, 0);
    return;
  }
  held.push(target);
  writeWord(struct, offset, native().ref.address(target));
}

/** The bytes at an address that native code owns; the caller knows how long they live. */
export function viewMemory(pointer: Pointer, size: number): Buffer {
  const cell = Buffer.alloc(WORD);
  writeWord(cell, 0, pointer);
  return native().ref.readPointer(cell, 0, size);
}

/** NUL-terminated bytes for a `const char *`. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'utf8');
}

/** The text of a `const char *` result, up to `limit` bytes. */
export function readCString(pointer: Pointer, limit = 256): string {
  const bytes = viewMemory(pointer, limit);
  let end = 0;
  while (end < limit && bytes[end] !== 0) end++;
  return bytes.toString('utf8', 0, end);
}

export function closeFd(fd: Fd): void {
  closeSync(fd);
}
