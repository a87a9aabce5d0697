/** Errors that reach an operator: each has a stable code and says what to do next (docs/operations.md lists them). */

/** Remedy by code: the one list that the CLI prints and that docs/operations.md is tested against. */
export const REMEDIES = {
  WEIR_USAGE: 'run the command with --help to see its flags',
  WEIR_CAPABILITY: 'run as root, or grant the capabilities that docs/operations.md lists for this kernel',
  WEIR_BPFFS: 'mount a bpf file system (mount -t bpf bpf /sys/fs/bpf) or point --bpf-root below one',
  WEIR_KERNEL_TOO_OLD: 'use Linux 6.1 or newer, or run with --dataplane=ipvs',
  WEIR_LAYOUT:
    'the pinned maps were made by another version, or with another --flow-entries: repeat that, or run weir cleanup first',
  WEIR_NOT_INSTALLED: 'start weir agent first, or give the --bpf-root that it uses',
  WEIR_ALREADY_RUNNING:
    'stop the other agent, or start this one in another network namespace with a --bpf-root of its own',
  WEIR_VERIFIER: 'report this with the kernel version and the full log (WEIR_DEBUG=verifier prints it)',
  WEIR_KERNEL: 'see the system call and errno in the message; dmesg may say more',
  WEIR_OBJECT: 'rebuild with make build: the BPF object is missing or does not match this program',
  WEIR_DEVICE: 'check the device name with ip link, or give --devices',
  WEIR_CGROUP:
    'give --cgroup a directory of a cgroup2 file system: mount shows where there is one (often /sys/fs/cgroup)',
  WEIR_MANIFEST: 'correct the named file; until then its last good objects stay in force',
  WEIR_INVALID_OBJECT: 'correct the named field of the named object; until then its last good version stays in force',
  WEIR_API: 'check that the API server is reachable and that the service account may list and watch',
  WEIR_FULL: 'the map is full: fewer objects, or a larger map',
  WEIR_TOOL: 'install the named program (packages iproute2, ipvsadm, nftables) or mend its error',
  WEIR_KERNEL_MODULE: 'load the named module (modprobe), or use a kernel that has it, or --dataplane=bpf',
} as const;

export type ErrorCode = keyof typeof REMEDIES;

export class WeirError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: Record<string, unknown> } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'WeirError';
    this.code = code;
    this.details = options.details ?? {};
  }

  /** What the operator does next. */
  get remedy(): string {
    return REMEDIES[this.code];
  }
}

/** One line for a log or a terminal: what failed, and what to do. */
export function describeError(error: unknown): string {
  if (error instanceof WeirError) return `${error.message} [${error.code}]: ${error.remedy}`;
  return error instanceof Error ? error.message : String(error);
}
