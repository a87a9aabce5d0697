/** Lists the filters of a clsact hook by rtnetlink: libbpf can only ask for one that is known already. */
import { ask } from './netlink.js';

export interface TcFilter {
  /** `bpf`, `flower`, ... */
  readonly kind: string;
  readonly priority: number;
  readonly handle: number;
  /** Of a bpf filter: the program's name as libbpf or tc gave it (`weir_up_in:[17]`), and its id; else '' and 0. */
  readonly program: string;
  readonly programId: number;
}

const NETLINK_ROUTE = 0;
const RTM_NEWTFILTER = 44;
const RTM_GETTFILTER = 46;
const TCMSG = 20;
const TCA = { KIND: 1, OPTIONS: 2 } as const;
const TCA_BPF = { NAME: 7, ID: 11 } as const;
/** No device, no qdisc there: no filters. */
const ABSENT: readonly number[] = [-2, -19, -22];

/** `parent` is the hook (TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS or _EGRESS)). Empty where there is no clsact. */
export function dumpFilters(ifindex: number, parent: number): TcFilter[] {
  const body = Buffer.alloc(TCMSG);
  body.writeInt32LE(ifindex, 4);
  body.writeUInt32LE(parent, 12);
  const answer = ask({
    family: NETLINK_ROUTE,
    type: RTM_GETTFILTER,
    dump: true,
    body,
    action: 'list filters',
    absent: ABSENT,
  });
  return answer.flatMap((message) => (message.type === RTM_NEWTFILTER ? filterAt(message.body) : []));
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
