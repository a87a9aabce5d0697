/**
 * The policy tables: what the kernel holds, and the ordered change to what it should hold. State lives in the kernel; the copy
 * here is read from there at start, so that a restart writes only differences.
 */
import { formatPrefix, type Ip, mappedBits, parsePrefix, PROTOCOL_NUMBER, protocolName } from '../core/net.js';
import type { Protocol } from '../core/net.js';
import type { Row, Write } from '../core/plan.js';
import { bundle, type PortRule } from '../core/policy/bundle.js';
import { type Installed, NODE_ID, note, type Step } from '../core/policy/installed.js';
import { type Memory, type Target, transition } from '../core/policy/transition.js';
import { WeirError } from '../errors.js';
import { ipCodec, u32Codec } from './codec.js';
import { bytes, row } from './encode.js';
import { Ids } from './ids.js';
import type { KernelTables } from './kernel-tables.js';
import {
  decodeEndpoint,
  decodeName,
  decodePolicyKey,
  decodePolicySet,
  decodePrefixKey,
  MAPS,
  nameCodec,
  POLICY_SET_FLAG,
  policyKeyCodec,
  policySetCodec,
  prefixKeyCodec,
} from './layout.js';
import { type EndpointPolicy, NO_POLICY } from './node.js';
import { NumberPool } from './number-pool.js';

/** Numbers of policy's names begin here: those below belong to services and nodes. */
export const POLICY_NAMES = 0x40000000;
/** ms that a number of a class or a set rests before it stands for another. */
const REST = 2_000;
/** Names that nothing needs any more are kept for what was dropped lately, up to so many. */
const SPARE_NAMES = 4096;
const NAME_REST = 600_000;

const NOTHING = { classed: 0, anyone: 0, name: 0, flags: 0 };

/** What carrying out a change needs besides: endpoints go to their sets, and admitted flows are judged again. */
export interface PolicyEffects {
  /** Brings weir_endpoints to what `endpoint` says; returns the number of entries written. */
  syncEndpoints(): number;
  nextEpoch(): void;
}

export class PolicyTables {
  readonly #tables: KernelTables;
  readonly #clock: () => number;
  readonly #names = new Ids(MAPS.weir_names.maxEntries, NAME_REST);
  readonly #namesHeld = new Map<string, number>();
  readonly #classes: NumberPool;
  readonly #sets: NumberPool;
  readonly #installed: Installed = { classes: new Map(), sets: new Map(), endpoints: new Map() };
  #memory: Memory = { classes: new Map(), sets: new Map() };

  /** clock in ms. */
  constructor(tables: KernelTables, clock: () => number) {
    this.#tables = tables;
    this.#clock = clock;
    this.#adopt();
    this.#classes = new NumberPool(NODE_ID + 1, this.#installed.classes.values(), REST);
    this.#sets = new NumberPool(1, this.#installed.sets.keys(), REST);
  }

  /** The addresses of pods that are known, with what weir_endpoints is to say of them. */
  endpoints(): Iterable<readonly [Ip, EndpointPolicy]> {
    return this.#describe(this.#installed);
  }

  *#describe({ endpoints }: Installed): Generator<readonly [Ip, EndpointPolicy]> {
    for (const [ip, { pod, ...sets }] of endpoints) {
      yield [ip, { ...NO_POLICY, ...sets, pod: this.#nameId(`Pod ${pod}`) }];
    }
  }

  /** Brings the kernel to the target. `own`: this node's addresses. Returns the number of entries written. */
  sync(target: Target, own: Iterable<Ip>, effects: PolicyEffects): number {
    const now = this.#clock();
    const numbers = { class: () => this.#classes.take(now), set: () => this.#sets.take(now) };
    const { before, endpoints, after, memory } = transition(
      this.#installed,
      target,
      hostPrefixes(own),
      this.#memory,
      numbers,
    );
    let writes = this.#carryOut(before);
    for (const step of endpoints) note(this.#installed, step);
    writes += this.#putNames(endpoints.flatMap(({ sets }) => (sets ? [`Pod ${sets.pod}`] : [])));
    if (endpoints.length > 0) writes += effects.syncEndpoints();
    if (before.length + endpoints.length + after.length > 0) effects.nextEpoch();
    writes += this.#carryOut(after);
    this.#memory = memory;
    this.#classes.keep(this.#installed.classes.values(), now);
    this.#sets.keep(this.#installed.sets.keys(), now);
    this.#dropNames(now);
    return writes;
  }

  /** The writes that `sync` would make, without the names, and what it would make of the endpoints. Changes nothing. */
  preview(target: Target, own: Iterable<Ip>): { writes: Write[]; endpoints: Map<Ip, EndpointPolicy> } {
    const now = this.#clock();
    const numbers = { class: () => this.#classes.take(now), set: () => this.#sets.take(now) };
    const { before, endpoints, after } = transition(this.#installed, target, hostPrefixes(own), this.#memory, numbers);
    const future: Installed = { ...this.#installed, endpoints: new Map(this.#installed.endpoints) };
    for (const step of endpoints) note(future, step);
    return {
      writes: [...before, ...after].flatMap((step) => this.#encode(step)),
      endpoints: new Map(this.#describe(future)),
    };
  }

  #carryOut(steps: readonly Step[]): number {
    const named = this.#putNames(
      steps.flatMap((step) => {
        if (step.do === 'allow') return step.rules.map(({ rule }) => rule);
        return step.do === 'set' ? [step.value.label] : [];
      }),
    );
    const writes = steps.flatMap((step) => this.#encode(step));
    this.#tables.apply(writes, new Map(), 0);
    for (const step of steps) note(this.#installed, step);
    return named + writes.length;
  }

  #encode(step: Step): Write[] {
    switch (step.do) {
      case 'allow':
        return step.rules.map((rule) => put(this.#ruleRow(step.set, step.class, rule)));
      case 'forbid':
        return step.rules.map((rule) => ({ op: 'delete', row: this.#ruleRow(step.set, step.class, rule) }));
      case 'set': {
        const { label, action, classed, anyone } = step.value;
        const value = {
          classed,
          anyone,
          name: this.#nameId(label),
          flags: action === 'reject' ? POLICY_SET_FLAG.REJECT : 0,
        };
        return [put(row('weir_policysets', [u32Codec, step.set], [policySetCodec, value]))];
      }
      case 'unset':
        return [{ op: 'delete', row: row('weir_policysets', [u32Codec, step.set], [policySetCodec, NOTHING]) }];
      case 'class':
        return [put(this.#classRow(step.prefix, step.class))];
      case 'unclass':
        return [{ op: 'delete', row: this.#classRow(step.prefix, this.#installed.classes.get(step.prefix) ?? 0) }];
      case 'endpoint':
        return []; // in one table with what the node's tables say of it
    }
    step satisfies never;
  }

  #ruleRow(set: number, peers: number, { protocol, port, bits, rule }: PortRule): Row {
    const key = { set, class: peers, port, protocol: protocol === 'any' ? 0 : PROTOCOL_NUMBER[protocol], bits };
    return row('weir_policy', [policyKeyCodec, key], [u32Codec, this.#nameId(rule)]);
  }

  #classRow(prefix: string, id: number): Row {
    return { table: 'weir_classes', key: prefixKey(prefix), value: bytes(u32Codec, id) };
  }

  /** Throws WEIR_FULL where no number is left. */
  #nameId(text: string): number {
    const id = this.#names.of(text, this.#clock());
    if (id === undefined) throw new WeirError('WEIR_FULL', `number ${text}: all numbers are in use`);
    return POLICY_NAMES + id;
  }

  /** What is named comes before what names it. */
  #putNames(names: readonly string[]): number {
    const missing = [...new Set(names)].filter((name) => !this.#namesHeld.has(name));
    this.#tables.apply(
      missing.map((name) => put(this.#nameRow(name))),
      new Map(),
      0,
    );
    for (const name of missing) this.#namesHeld.set(name, this.#nameId(name));
    return missing.length;
  }

  #nameRow(text: string): Row {
    return row('weir_names', [u32Codec, this.#nameId(text)], [nameCodec, { text }]);
  }

  #dropNames(now: number): void {
    if (this.#namesHeld.size <= SPARE_NAMES) return;
    const used = new Set<string>();
    for (const { label, rules } of this.#installed.sets.values()) {
      used.add(label);
      for (const one of rules.values()) for (const { rule } of one.rules) used.add(rule);
    }
    for (const { pod } of this.#installed.endpoints.values()) used.add(`Pod ${pod}`);
    const spare = [...this.#namesHeld.keys()].filter((name) => !used.has(name));
    if (spare.length <= SPARE_NAMES) return;
    this.#tables.apply(
      spare.map((name) => ({ op: 'delete', row: this.#nameRow(name) })),
      new Map(),
      0,
    );
    for (const name of spare) {
      this.#namesHeld.delete(name);
      this.#names.release(name, now);
    }
  }

  /** Reads what is pinned. */
  #adopt(): void {
    const names = new Map<number, string>();
    for (const { key, value } of this.#read('weir_names')) {
      const id = key.readUInt32LE(0);
      if (id < POLICY_NAMES) continue;
      const { text } = decodeName(value);
      names.set(id, text);
      this.#names.adopt(text, id - POLICY_NAMES);
      this.#namesHeld.set(text, id);
    }
    const { classes, sets, endpoints } = this.#installed;
    for (const { key, value } of this.#read('weir_classes')) {
      const { bits, address } = decodePrefixKey(key);
      classes.set(formatPrefix({ address, bits: address.includes(':') ? bits : bits - 96 }), value.readUInt32LE(0));
    }
    for (const { key, value } of this.#read('weir_policysets')) {
      const { name, flags, classed, anyone } = decodePolicySet(value);
      const action = (flags & POLICY_SET_FLAG.REJECT) !== 0 ? 'reject' : 'drop';
      sets.set(key.readUInt32LE(0), { label: names.get(name) ?? '', action, classed, anyone, rules: new Map() });
    }
    this.#adoptRules(names);
    for (const { key, value } of this.#read('weir_endpoints')) {
      const { pod, ingress, egress, auditIngress, auditEgress } = decodeEndpoint(value);
      const name = names.get(pod)?.replace(/^Pod /, '') ?? '';
      if (pod !== 0) endpoints.set(ipCodec.decode(key, 0), { pod: name, ingress, egress, auditIngress, auditEgress });
    }
  }

  #adoptRules(names: ReadonlyMap<number, string>): void {
    const found = new Map<number, Map<number, PortRule[]>>();
    for (const { key, value } of this.#read('weir_policy')) {
      const { set, class: peers, protocol, port, bits } = decodePolicyKey(key);
      const rules = found.get(set) ?? new Map<number, PortRule[]>();
      const list = rules.get(peers) ?? [];
      const spoken = protocol === 0 ? 'any' : (protocolName(protocol) as Protocol);
      list.push({ protocol: spoken, port, bits, rule: names.get(value.readUInt32LE(0)) ?? '' });
      found.set(set, rules.set(peers, list));
    }
    const { sets } = this.#installed;
    for (const [id, rules] of found) {
      const set = sets.get(id) ?? { label: '', action: 'drop' as const, classed: 0, anyone: 0, rules: new Map() };
      for (const [peers, list] of rules) set.rules.set(peers, bundle(list));
      sets.set(id, set);
    }
  }

  *#read(table: Parameters<KernelTables['read']>[0]): Generator<{ key: Buffer; value: Buffer }> {
    for (const { key, value } of this.#tables.read(table)) {
      yield { key: Buffer.from(key, 'latin1'), value: Buffer.from(value, 'latin1') };
    }
  }
}

function hostPrefixes(addresses: Iterable<Ip>): Set<string> {
  return new Set(Array.from(addresses, (ip) => `${ip}/${ip.includes(':') ? 128 : 32}`));
}

function put(changed: Row): Write {
  return { op: 'put', row: changed, before: undefined };
}

function prefixKey(text: string): string {
  const prefix = parsePrefix(text);
  if (!prefix) throw new TypeError(`not a prefix: ${text}`);
  return bytes(prefixKeyCodec, { bits: mappedBits(prefix), address: prefix.address });
}
