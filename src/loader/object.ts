/** A BPF object file between opening and closing: choose sizes, pins and programs, load, take the descriptors. */
import { WeirError } from '../errors.js';
import { KernelError, VerifierError } from './errors.js';
import type { MapShape } from './kernel-map.js';
import { cString, type Fd, type NativeFunction, type Pointer, readCString } from './libbpf.js';
import { libbpf } from './native.js';

/** Set at load for a program that accepts frames in several buffers (MTU above 3,500 bytes). */
export const XDP_HAS_FRAGS = 1 << 5;

const LOG_BYTES = 4 << 20;
const OPEN_OPTIONS_SIZE = 80; // struct bpf_object_open_opts
const NULL = 0 as Pointer;

/** Owns the object and every descriptor it hands out: they close with it, unless pinned or attached. */
export class BpfObject implements Disposable {
  private object: Pointer;
  /** Per program, so that the log of the one that failed is whole. */
  private readonly logs = new Map<string, Buffer>();

  /** Throws WEIR_OBJECT where the file is missing or no BPF object. */
  constructor(path: string) {
    const options = Buffer.alloc(OPEN_OPTIONS_SIZE);
    options.writeUInt32LE(OPEN_OPTIONS_SIZE, 0);
    try {
      this.object = libbpf.objectOpenFile.call(`open ${path}`, cString(path), options) as Pointer;
    } catch (cause) {
      throw new WeirError('WEIR_OBJECT', `open the BPF object ${path}: ${reason(cause)}`, { cause });
    }
  }

  /** The maps by their full names, those of .rodata and .bss included (`.rodata`). */
  maps(): Map<string, ObjectMap> {
    return new Map(
      this.walk(libbpf.objectNextMap).map((pointer) => {
        const map = new ObjectMap(pointer);
        return [map.name, map];
      }),
    );
  }

  programs(): Map<string, ObjectProgram> {
    return new Map(
      this.walk(libbpf.objectNextProgram).map((pointer) => {
        const program = new ObjectProgram(pointer);
        return [program.name, program];
      }),
    );
  }

  /** Loads programs and maps into the kernel. Throws VerifierError, or KernelError for anything else. */
  load(): void {
    for (const program of this.programs().values()) {
      const log = Buffer.alloc(LOG_BYTES);
      this.logs.set(program.name, log);
      program.setLog(log);
    }
    const result = libbpf.objectLoad.attempt(this.object);
    const rejected = [...this.logs].find(([, log]) => log[0] !== 0);
    this.logs.clear();
    if (result >= 0) return;
    const cause = new KernelError(libbpf.objectLoad.name, -result, 'load the BPF object');
    if (rejected && cause.errno !== 'EPERM') throw new VerifierError(rejected[0], text(rejected[1]), cause);
    throw cause;
  }

  [Symbol.dispose](): void {
    if (this.object !== NULL) libbpf.objectClose.attempt(this.object);
    this.object = NULL;
  }

  private walk(next: NativeFunction): Pointer[] {
    const found: Pointer[] = [];
    let at = next.attempt(this.object, null) as Pointer;
    for (; at !== NULL; at = next.attempt(this.object, at) as Pointer) found.push(at);
    return found;
  }
}

/** A map of an object that is open. */
export class ObjectMap {
  readonly name: string;
  private readonly pointer: Pointer;

  constructor(pointer: Pointer) {
    this.pointer = pointer;
    this.name = readCString(libbpf.mapName.attempt(pointer) as Pointer);
  }

  shape(): MapShape {
    return {
      type: libbpf.mapType.attempt(this.pointer),
      keySize: libbpf.mapKeySize.attempt(this.pointer),
      valueSize: libbpf.mapValueSize.attempt(this.pointer),
      maxEntries: libbpf.mapMaxEntries.attempt(this.pointer) >>> 0,
      flags: libbpf.mapFlags.attempt(this.pointer) >>> 0,
    };
  }

  /** Before load. */
  setMaxEntries(entries: number): void {
    libbpf.mapSetMaxEntries.call(`size map ${this.name}`, this.pointer, entries);
  }

  /** Before load: the map pinned there is used, or a new one is pinned there. */
  setPinPath(path: string): void {
    libbpf.mapSetPinPath.call(`pin map ${this.name}`, this.pointer, cString(path));
  }

  /** Before load: use a map that exists. */
  reuse(fd: Fd): void {
    libbpf.mapReuseFd.call(`reuse map ${this.name}`, this.pointer, fd);
  }

  /** Before load, for `.rodata` and the like: the whole section. */
  setInitialValue(bytes: Uint8Array): void {
    libbpf.mapSetInitialValue.call(`set ${this.name}`, this.pointer, bytes, bytes.length);
  }

  /** After load. Belongs to the object. */
  fd(): Fd {
    return libbpf.mapFd.call(`use map ${this.name}`, this.pointer) as Fd;
  }
}

/** A program of an object that is open. */
export class ObjectProgram {
  readonly name: string;
  private readonly pointer: Pointer;

  constructor(pointer: Pointer) {
    this.pointer = pointer;
    this.name = readCString(libbpf.programName.attempt(pointer) as Pointer);
  }

  /** Before load: leave this program out. */
  skip(): void {
    libbpf.programSetAutoload.call(`leave out ${this.name}`, this.pointer, 0);
  }

  /** Before load: BPF_F_* flags of the program, beside those of its section. */
  addFlags(flags: number): void {
    const present = libbpf.programFlags.attempt(this.pointer);
    libbpf.programSetFlags.call(`set flags of ${this.name}`, this.pointer, present | flags);
  }

  /** Before load. The caller keeps `log` alive until the load has returned. */
  setLog(log: Buffer): void {
    libbpf.programSetLogBuffer.call(`log ${this.name}`, this.pointer, log, log.length);
  }

  /** After load. Belongs to the object. */
  fd(): Fd {
    return libbpf.programFd.call(`use program ${this.name}`, this.pointer) as Fd;
  }

  /** As `fd`; undefined for a program that was left out. */
  tryFd(): Fd | undefined {
    const fd = libbpf.programFd.attempt(this.pointer);
    return fd < 0 ? undefined : (fd as Fd);
  }
}

function text(log: Buffer): string {
  const end = log.indexOf(0);
  return log.toString('utf8', 0, end < 0 ? log.length : end);
}

function reason(cause: unknown): string {
  return cause instanceof KernelError ? cause.errno : String(cause);
}
