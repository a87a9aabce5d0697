/** The part of ffi-napi and ref-napi that src/loader/libbpf.ts uses; neither package ships types that hold under strict. */

declare module 'ffi-napi' {
  /** A prepared call interface, opaque. */
  type Cif = Buffer & { readonly cif: unique symbol };

  interface Ffi {
    CIF(result: unknown, args: readonly unknown[]): Cif;
    DynamicLibrary: new (path: string) => { get(symbol: string): Buffer };
    /** errno of the last synchronous call; meaningful only right after one that failed. */
    errno(): number;
  }

  /** Of ffi-napi/lib/bindings.js. */
  interface Bindings {
    ffi_call(cif: Cif, symbol: Buffer, result: Buffer, frame: Buffer): void;
    ffi_call_async(
      cif: Cif,
      symbol: Buffer,
      result: Buffer,
      frame: Buffer,
      done: (error: Error | null | undefined) => void,
    ): void;
  }

  export type { Bindings, Cif, Ffi };
}

declare module 'ref-napi' {
  interface Ref {
    /** Where the bytes lie. Valid while the buffer lives; user space addresses fit a double. */
    address(buffer: Uint8Array): number;
    coerceType(name: string): unknown;
    /** A view of `size` bytes at the address that is stored in `buffer` at `offset`. */
    readPointer(buffer: Buffer, offset: number, size: number): Buffer;
    /** Stores the address of `target` and keeps it alive as long as `buffer`. */
    writePointer(buffer: Buffer, offset: number, target: Buffer): void;
  }

  export type { Ref };
}
