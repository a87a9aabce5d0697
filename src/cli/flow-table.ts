/** The flow tables as they are pinned: entries towards backends, and how many each backend has. */
import { formatSocket, type Ip, ipFromBytes } from '../core/net.js';
import {
  decodeFlow,
  type Flow,
  FLOW_KIND,
  FLOW_STATE,
  type Flow4Key,
  type Flow6Key,
  flowCodec,
  MAPS,
} from '../maps/layout.js';
import { openTable } from '../maps/table.js';

export interface ForwardFlow {
  readonly client: string;
  readonly frontend: string;
  readonly protocol: number;
  readonly flow: Flow;
}

/** Every flow from a client to a frontend, IPv4 first. */
export function* forwardFlows(root: string): Generator<ForwardFlow> {
  using flows4 = openTable(root, MAPS.weir_flows4);
  for (const [key, flow] of flows4.entries()) if (flow.kind === FLOW_KIND.FORWARD) yield towards(widen(key), flow);
  using flows6 = openTable(root, MAPS.weir_flows6);
  for (const [key, flow] of flows6.entries()) if (flow.kind === FLOW_KIND.FORWARD) yield towards(key, flow);
}

function towards(key: Flow6Key, flow: Flow): ForwardFlow {
  const client = formatSocket(key.source, key.sourcePort);
  const frontend = formatSocket(key.destination, key.destinationPort);
  return { client, frontend, protocol: key.protocol, flow };
}

function widen(key: Flow4Key): Flow6Key {
  return { ...key, source: ipOf(key.source), destination: ipOf(key.destination) };
}

function ipOf(number: number): Ip {
  const bytes = new Uint8Array(16);
  bytes[10] = bytes[11] = 0xff;
  new DataView(bytes.buffer).setUint32(12, number);
  return ipFromBytes(bytes);
}

/** Number of flows by number of their backend; those that are closing hold nothing up and do not count. Decodes no more than it needs: there may be millions. */
export function countFlows(root: string): Map<number, number> {
  const counts = new Map<number, number>();
  using flows4 = openTable(root, MAPS.weir_flows4);
  using flows6 = openTable(root, MAPS.weir_flows6);
  for (const table of [flows4, flows6]) {
    for (const { value } of table.rawEntries()) {
      if (value.readUInt8(KIND_AT) !== FLOW_KIND.FORWARD || value.readUInt8(STATE_AT) >= FLOW_STATE.CLOSING) continue;
      const backend = value.readUInt32LE(BACKEND_AT);
      counts.set(backend, (counts.get(backend) ?? 0) + 1);
    }
  }
  return counts;
}

/** Where the codec puts a field: the byte that is not zero when only this field is one. */
function offsetOf(field: 'kind' | 'state' | 'backend'): number {
  const buffer = Buffer.alloc(flowCodec.size);
  const zero = decodeFlow(buffer);
  flowCodec.encode({ ...zero, [field]: 1 }, buffer, 0);
  return buffer.indexOf(1);
}
const KIND_AT = offsetOf('kind');
const STATE_AT = offsetOf('state');
const BACKEND_AT = offsetOf('backend');
