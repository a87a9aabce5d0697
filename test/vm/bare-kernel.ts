/**
 * The kernel as an ELF file, taken out of vmlinuz: QEMU starts that at once (PVH), whereas a compressed kernel unpacks itself
 * for seconds under emulation. Documentation/arch/x86/boot.rst says where the payload is.
 */
import { spawnSync } from 'node:child_process';

const UNPACKERS = [
  { magic: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), command: ['xz', '-dc'] },
  { magic: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), command: ['zstd', '-qdc'] },
  { magic: Buffer.from([0x1f, 0x8b]), command: ['gzip', '-dc'] },
] as const;

/** Throws where the compression is not known. */
export function bareKernel(vmlinuz: Buffer): Buffer {
  const setupSectors = vmlinuz[0x1f1] || 4;
  const start = (setupSectors + 1) * 512 + vmlinuz.readUInt32LE(0x248);
  const payload = vmlinuz.subarray(start, start + vmlinuz.readUInt32LE(0x24c));
  const unpacker = UNPACKERS.find(({ magic }) => payload.subarray(0, magic.length).equals(magic));
  if (!unpacker) throw new Error(`kernel compressed in an unknown way: ${payload.subarray(0, 8).toString('hex')}`);
  const [command, ...args] = unpacker.command;
  /* four bytes that say the size follow; the unpacker complains of them after its work is done */
  const { stdout } = spawnSync(command, args, { input: payload, maxBuffer: 1 << 28 });
  if (!stdout?.subarray(0, 4).equals(Buffer.from('\x7fELF', 'latin1')))
    throw new Error(`${command} could not unpack the kernel`);
  return stdout;
}
