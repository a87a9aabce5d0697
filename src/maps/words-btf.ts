/** A BTF blob with two types: 1 is __u32, 2 is __u32[count]. For maps that are made without an object file. */

const HEADER = 24;
const STRINGS = Buffer.from('\0__u32\0');

export function wordsBtf(count: number): Buffer {
  const types = [
    [1, 1 << 24, 4, 32], // INT of 4 bytes, 32 bits; its name begins at 1
    [0, 3 << 24, 0, 1, 1, count], // ARRAY of type 1, indexed by type 1
  ].flat();
  const header = [0x0001eb9f, HEADER, 0, types.length * 4, types.length * 4, STRINGS.length];
  const words = Buffer.from(Uint32Array.from([...header, ...types]).buffer);
  return Buffer.concat([words, STRINGS]);
}
