/** Connected UDP sockets of this network namespace: listing them and ending them (sock_diag(7)). */
import { KernelError } from './errors.js';
import { ask } from './netlink.js';

/** A connected UDP socket. */
export interface UdpSocket {
  readonly cookie: bigint;
  /** The other end: 16 bytes in network order (IPv4 mapped), and the port. */
  readonly address: Uint8Array;
  readonly port: number;
  /** What the kernel finds it by. */
  readonly family: number;
  readonly id: Buffer;
}

const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_UDP = 17;
const ESTABLISHED = 1 << 1; // what a connected UDP socket counts as
const REQUEST_SIZE = 56; // struct inet_diag_req_v2
const ID = 8; // struct inet_diag_sockid within it
const ID_SIZE = 48;
const ID_IN_MESSAGE = 4; // and within struct inet_diag_msg
const ENOENT = -2;
const MAPPED = Buffer.from('00000000000000000000ffff', 'hex');

/** Throws KernelError. */
export function connectedUdpSockets(): UdpSocket[] {
  return [AF_INET, AF_INET6].flatMap((family) => {
    const body = request(family);
    body.writeUInt32LE(ESTABLISHED, 4);
    const answer = ask({
      family: NETLINK_SOCK_DIAG,
      type: SOCK_DIAG_BY_FAMILY,
      dump: true,
      body,
      action: 'list UDP sockets',
      absent: [ENOENT],
    });
    return answer.filter(({ type }) => type === SOCK_DIAG_BY_FAMILY).map((message) => socketAt(family, message.body));
  });
}

/**
 * Ends a socket: its process is told ECONNABORTED. False where the kernel cannot (CONFIG_INET_DIAG_DESTROY); a socket that is
 * closed by now is none. Throws KernelError.
 */
export function destroySocket({ family, id }: UdpSocket): boolean {
  const body = request(family);
  body.set(id, ID);
  try {
    ask({
      family: NETLINK_SOCK_DIAG,
      type: SOCK_DESTROY,
      dump: false,
      body,
      action: 'end a UDP socket',
      absent: [ENOENT],
    });
    return true;
  } catch (error) {
    if (error instanceof KernelError && error.errno === 'EOPNOTSUPP') return false;
    throw error;
  }
}

function request(family: number): Buffer {
  const body = Buffer.alloc(REQUEST_SIZE);
  body.writeUInt8(family, 0);
  body.writeUInt8(IPPROTO_UDP, 1);
  return body;
}

function socketAt(family: number, message: Buffer): UdpSocket {
  const id = message.subarray(ID_IN_MESSAGE, ID_IN_MESSAGE + ID_SIZE);
  const to = id.subarray(20, 36);
  return {
    cookie: id.readBigUInt64LE(40),
    address: family === AF_INET ? Buffer.concat([MAPPED, to.subarray(0, 4)]) : to,
    port: id.readUInt16BE(2),
    family,
    id,
  };
}
