/** Asking the kernel through netlink: one request, all messages of its answer. */
import { KernelError } from './errors.js';
import { closeFd, type Fd } from './libbpf.js';
import { sys } from './native.js';

export interface Request {
  /** NETLINK_ROUTE and the like. */
  readonly family: number;
  readonly type: number;
  readonly dump: boolean;
  readonly body: Uint8Array;
  /** What is asked for, as errors name it. */
  readonly action: string;
  /** errno values (negative) that mean: there is nothing. */
  readonly absent: readonly number[];
}

export interface Message {
  readonly type: number;
  /** What follows the netlink header. */
  readonly body: Buffer;
}

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_DUMP = 0x300;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const HEADER = 16;
const RECEIVE_BYTES = 1 << 16;

/** Sends the request and waits for the whole answer; without dump that is an acknowledgement alone. Throws KernelError. */
export function ask(request: Request): Message[] {
  const socket = sys.socket.call('open netlink socket', AF_NETLINK, SOCK_RAW_CLOEXEC, request.family) as Fd;
  try {
    const bytes = encode(request);
    sys.send.call('send netlink request', socket, bytes, bytes.length, 0);
    return receive(socket, request);
  } finally {
    closeFd(socket);
  }
}

function encode({ type, dump, body }: Request): Buffer {
  const bytes = Buffer.alloc(HEADER + body.length);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(NLM_F_REQUEST | (dump ? NLM_F_DUMP : NLM_F_ACK), 6);
  bytes.set(body, HEADER);
  return bytes;
}

function receive(socket: Fd, { action, absent }: Request): Message[] {
  const messages: Message[] = [];
  const buffer = Buffer.alloc(RECEIVE_BYTES);
  for (;;) {
    const length = sys.recv.call('receive netlink answer', socket, buffer, buffer.length, 0);
    for (let at = 0; at + HEADER <= length;) {
      const size = buffer.readUInt32LE(at);
      const type = buffer.readUInt16LE(at + 4);
      if (type === NLMSG_DONE || type === NLMSG_ERROR) {
        const code = size >= HEADER + 4 ? buffer.readInt32LE(at + HEADER) : 0;
        if (code < 0 && !absent.includes(code)) throw new KernelError('netlink', -code, action);
        return messages;
      }
      messages.push({ type, body: Buffer.from(buffer.subarray(at + HEADER, at + size)) });
      at += (size + 3) & ~3;
    }
  }
}
