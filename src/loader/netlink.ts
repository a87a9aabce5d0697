/** Lists the filters of a clsact hook by rtnetlink: libbpf can only ask for one that is known already. */
import { KernelError } from './errors.js';
import { closeFd, type Fd } from './libbpf.js';
import { sys } from './native.js';

export interface TcFilter {
  /** `bpf`, `flower`, ... */
  readonly kind: string;
  readonly priority: number;
  readonly handle: number;
  /** Of a bpf filter: the program's name as libbpf or tc gave it (`weir_up_in:[17]`), and its id; else '' and 0. */
  readonly program: string;
  readonly programId: number;
}

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_ROUTE = 0;
const RTM_NEWTFILTER = 44;
const RTM_GETTFILTER = 46;
const REQUEST_DUMP = 0x301; // NLM_F_REQUEST | NLM_F_DUMP
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const HEADER = 16;
const TCMSG = 20;
const TCA = { KIND: 1, OPTIONS: 2 } as const;
const TCA_BPF = { NAME: 7, ID: 11 } as const;
const RECEIVE_BYTES = 1 << 16;
/** No device, no qdisc there: no filters. */
const ABSENT: readonly number[] = [-2, -19, -22];

/** `parent` is the hook (TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS or _EGRESS)). Empty where there is no clsact. */
export function dumpFilters(ifindex: number, parent: number): TcFilter[] {
  const socket = sys.socket.call('open netlink socket', AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE) as Fd;
  try {
    const request = filterRequest(ifindex, parent);
    sys.send.call('send netlink request', socket, request, request.length, 0);
    return receive(socket);
  } finally {
    closeFd(socket);
  }
}

function filterRequest(ifindex: number, parent: number): Buffer {
  const request = Buffer.alloc(HEADER + TCMSG);
  request.writeUInt32LE(request.length, 0);
  request.writeUInt16LE(RTM_GETTFILTER, 4);
  request.writeUInt16LE(REQUEST_DUMP, 6);
  request.writeInt32LE(ifindex, HEADER + 4);
  request.writeUInt32LE(parent, HEADER + 12);
  return request;
}

function receive(socket: Fd): TcFilter[] {
  const filters: TcFilter[] = [];
  const buffer = Buffer.alloc(RECEIVE_BYTES);
  for (;;) {
    const length = sys.recv.call('receive netlink answer', socket, buffer, buffer.length, 0);
    for (let at = 0; at + HEADER <= length;) {
      const size = buffer.readUInt32LE(at);
      const type = buffer.readUInt16LE(at + 4);
      if (type === NLMSG_DONE || type === NLMSG_ERROR) {
        const code = size >= HEADER + 4 ? buffer.readInt32LE(at + HEADER) : 0;
        if (code < 0 && !ABSENT.includes(code)) throw new KernelError('RTM_GETTFILTER', -code, 'list filters');
        return filters;
      }
      if (type === RTM_NEWTFILTER) filters.push(...filterAt(buffer.subarray(at + HEADER, at + size)));
      at += (size + 3) & ~3;
    }
  }
}

/** A dump also names each chain and priority without a filter: those have no handle. */
function filterAt(message: Buffer): TcFilter[] {
  const handle = message.readUInt32LE(8);
  if (handle === 0) return [];
  const attributes = parseAttributes(message.subarray(TCMSG));
  const options = parseAttributes(attributes.get(TCA.OPTIONS) ?? Buffer.alloc(0));
  return [
    {
      kind: text(attributes.get(TCA.KIND)),
      priority: message.readUInt32LE(16) >>> 16,
      handle,
      program: text(options.get(TCA_BPF.NAME)),
      programId: options.get(TCA_BPF.ID)?.readUInt32LE(0) ?? 0,
    },
  ];
}

function parseAttributes(bytes: Buffer): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length;) {
    const size = bytes.readUInt16LE(at);
    if (size < 4) break;
    attributes.set(bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + 4, at + size));
    at += (size + 3) & ~3;
  }
  return attributes;
}

function text(bytes: Buffer | undefined): string {
  return bytes?.toString('utf8').replace(/\0.*$/s, '') ?? '';
}
