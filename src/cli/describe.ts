/** Rows of the tables told to an operator: numbers become names, bytes become fields. */
import { createHash } from 'node:crypto';
import type { Link } from '../core/network.js';
import { formatPrefix, formatSocket, type Prefix, protocolName } from '../core/net.js';
import type { Row } from '../core/plan.js';
import { firstSlot, slotsEnd, wordsOf } from '../maps/encode.js';
import {
  BACKEND_FLAG,
  decodeBackend,
  decodeDevice,
  decodeEndpoint,
  decodeFrontend,
  decodeFrontendKey,
  decodeRangeKey,
  FRONTEND_FLAG,
  decodeLocalBackend,
  decodeLocalKey,
  decodeName,
  decodePolicyKey,
  decodePrefixKey,
  decodeUplink,
  DEVICE_FLAG,
  DEVICE_ROLE,
  type Frontend,
  POLICY_CLASS,
  type PrefixKey,
  SCHEDULER,
  type Selection,
} from '../maps/layout.js';
import { ipCodec } from '../maps/codec.js';
import { labelOf } from './service-table.js';
import { backendStateName, formatLabel, forwardingName, kindName, namesOf, schedulerName } from './words.js';

export type Described = Readonly<Record<string, unknown>>;
export type Side = 'want' | 'have';

/** What numbers stand for, on either side. */
export interface Meaning {
  readonly names: ReadonlyMap<number, string>;
  /** Address and port by the number of the backend. */
  readonly backends: ReadonlyMap<number, string>;
  /** The words of a range of the arena; undefined where there is no such range. */
  words(chunk: number, count: number): Uint32Array | undefined;
}

const roleName = namesOf(DEVICE_ROLE);
/** Those that are set by the agent; the others are learnt by the programs. */
const SET_FLAGS = { xdp: DEVICE_FLAG.XDP, overlay: DEVICE_FLAG.OVERLAY, l3: DEVICE_FLAG.L3 };

export class Describer {
  readonly #meanings: Readonly<Record<Side, Meaning>>;
  readonly #devices: ReadonlyMap<number, string>;

  constructor(meanings: Readonly<Record<Side, Meaning>>, links: readonly Link[]) {
    this.#meanings = meanings;
    this.#devices = new Map(links.map((link) => [link.ifindex, link.name]));
  }

  key(row: Row, side: Side): string {
    const key = Buffer.from(row.key, 'latin1');
    switch (row.table) {
      case 'weir_frontends': {
        const { address, port, protocol } = decodeFrontendKey(key);
        return `${protocolName(protocol)} ${formatSocket(address, port)}`;
      }
      case 'weir_backends': {
        const { service, address, port } = decodeBackend(Buffer.from(row.value, 'latin1'));
        return `${this.#service(service, side)} ${formatSocket(address, port)}`;
      }
      case 'weir_local': {
        const { address, service } = decodeLocalKey(key);
        return `${this.#service(service, side)} ${address}`;
      }
      case 'weir_devices':
        return this.#device(key.readUInt32LE(0));
      case 'weir_endpoints':
      case 'weir_vips':
        return ipCodec.decode(key, 0);
      case 'weir_ranges': {
        const { owner, bits, address } = decodeRangeKey(key);
        const prefix = formatPrefix(prefixOf({ address, bits: bits - 32 }));
        return `${owner === 0 ? 'cluster' : this.#service(owner, side)} ${prefix}`;
      }
      case 'weir_policy': {
        const { set, class: peers, protocol, port, bits } = decodePolicyKey(key);
        return `set ${set} class ${peers} ${protocol === 0 ? 'any' : protocolName(protocol)} ${port}/${bits}`;
      }
      case 'weir_classes':
      case 'weir_sources':
        return formatPrefix(prefixOf(decodePrefixKey(key)));
      default:
        return `#${key.readUInt32LE(0)}`;
    }
  }

  value(row: Row, side: Side): Described {
    const value = Buffer.from(row.value, 'latin1');
    switch (row.table) {
      case 'weir_frontends':
        return this.#frontend(decodeFrontend(value), side);
      case 'weir_backends':
        return this.#backend(value, side);
      case 'weir_local': {
        const { backend, port } = decodeLocalBackend(value);
        return { backend: this.#meanings[side].backends.get(backend) ?? `#${backend}`, port };
      }
      case 'weir_devices': {
        const { role, flags, uplink } = decodeDevice(value);
        return { role: roleName(role), flags: flagNames(flags), uplink };
      }
      case 'weir_endpoints': {
        const { ifindex, flags, pod, ...sets } = decodeEndpoint(value);
        const device = ifindex === 0 ? '?' : this.#device(ifindex);
        return { device, host: (flags & BACKEND_FLAG.HOST) !== 0, pod: pod !== 0, ...sets };
      }
      case 'weir_classes': {
        const id = value.readUInt32LE(0);
        return { class: id === POLICY_CLASS.NODE ? 'this node' : id };
      }
      case 'weir_uplinks':
        return this.#uplink(value);
      case 'weir_names':
        return { name: decodeName(value).text };
      default:
        return { present: true };
    }
  }

  #frontend(frontend: Frontend, side: Side): Described {
    const { service, kind, scheduler, forwarding, flags, affinity } = frontend;
    return {
      service: this.#service(service, side),
      kind: kindName(kind),
      scheduler: schedulerName(scheduler),
      forwarding: forwardingName(forwarding),
      exists: (flags & FRONTEND_FLAG.EXISTS) !== 0,
      restricted: (flags & FRONTEND_FLAG.RANGES) !== 0,
      affinity,
      outside: this.#selection(frontend.outside, frontend, side),
      inside: this.#selection(frontend.inside, frontend, side),
      tunnelled: this.#selection(frontend.tunnelled, frontend, side),
    };
  }

  /** How many slots each backend has, and a digest of their order; for lc the weights. */
  #selection({ chunk, size, backends }: Selection, frontend: Frontend, side: Side): Described {
    const { scheduler } = frontend;
    if (chunk === 0) return { slots: size, backends: {} };
    const words = this.#meanings[side].words(chunk, wordsOf(frontend, { size, backends }));
    if (!words) return { slots: size, backends, chunk: `${chunk} is outside the arena` };
    const name = (id: number): string => this.#meanings[side].backends.get(id) ?? `#${id}`;
    const used = words.subarray(firstSlot(scheduler), slotsEnd(frontend, size));
    if (scheduler === SCHEDULER.LC) {
      const pairs = Array.from({ length: size }, (_, i) => [name(used[2 * i] ?? 0), used[2 * i + 1] ?? 0] as const);
      return { slots: size, backends: Object.fromEntries(pairs) };
    }
    const slots = Array.from(used, name);
    const counts: Record<string, number> = {};
    for (const slot of slots) counts[slot] = (counts[slot] ?? 0) + 1;
    return {
      slots: size,
      backends: counts,
      order: createHash('sha256').update(slots.join()).digest('hex').slice(0, 8),
    };
  }

  #backend(value: Buffer, side: Side): Described {
    const { protocol, state, node, weight, flags } = decodeBackend(value);
    return {
      protocol: protocolName(protocol),
      state: backendStateName(state),
      node: this.#meanings[side].names.get(node)?.replace(/^Node /, '') ?? '',
      weight,
      local: (flags & BACKEND_FLAG.LOCAL) !== 0,
      host: (flags & BACKEND_FLAG.HOST) !== 0,
    };
  }

  #uplink(value: Buffer): Described {
    const { ifindex, mtu, address4, address6, mac, flags } = decodeUplink(value);
    return {
      device: this.#device(ifindex),
      mtu,
      address4,
      address6,
      mac: Buffer.from(mac).toString('hex'),
      flags: flagNames(flags),
    };
  }

  #service(id: number, side: Side): string {
    return formatLabel(labelOf(this.#meanings[side].names, id));
  }

  #device(ifindex: number): string {
    return this.#devices.get(ifindex) ?? `#${ifindex}`;
  }
}

function flagNames(flags: number): string[] {
  return Object.entries(SET_FLAGS).flatMap(([name, bit]) => ((flags & bit) !== 0 ? [name] : []));
}

/** IPv4 is counted from bit 96. */
function prefixOf({ address, bits }: PrefixKey): Prefix {
  return { address, bits: address.includes(':') ? bits : bits - 96 };
}
