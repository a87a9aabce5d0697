/** The pods that policy sees, gathered in groups of those that no policy can tell apart. */
import type { Pod } from '../model.js';
import type { Ip } from '../net.js';
import type { Alike, Atom, Signature } from './atoms.js';
import { type AddressKey, addressKey, type KeyRange, type Region } from './blocks.js';

export interface Group extends Alike {
  readonly members: Set<Member>;
  /** The atoms that match these pods whatever their addresses. */
  readonly matches: Map<Atom, number>;
  /** What these pods match with an address in a region; nothing more than others there: no row of their own. */
  signatures: WeakMap<Region, Signature | 'as around'>;
}

export interface Member {
  /** `ns/name` */
  readonly key: string;
  readonly pod: Pod;
  readonly group: Group;
}

interface Holders {
  readonly key: AddressKey;
  /** The one that has the address first. */
  readonly members: readonly Member[];
}

/**
 * Pods with addresses of their own. One on the host's network is its node: no selector matches it, address blocks do. One that
 * is finished is nothing any more, though its object stays.
 */
export class PodIndex {
  readonly #members = new Map<string, Member>();
  readonly #groups = new Map<string, Map<string, Group>>();
  readonly #holders = new Map<Ip, Holders>();
  readonly #touched = new Set<Ip>();
  readonly #prepare: (group: Group) => void;

  /** `prepare` finds the matches of a new group. */
  constructor(prepare: (group: Group) => void) {
    this.#prepare = prepare;
  }

  put(key: string, pod: Pod | undefined): void {
    const before = this.#members.get(key);
    const after = pod && isPeer(pod) ? this.#join(key, pod) : undefined;
    for (const ip of new Set([...(before?.pod.addresses ?? []), ...(after?.pod.addresses ?? [])]))
      this.#hold(ip, before, after?.pod.addresses.includes(ip) ? after : undefined);
    if (after) this.#members.set(key, after);
    else this.#members.delete(key);
    if (before) this.#leave(before);
  }

  groups(namespace?: string): Iterable<Group> {
    if (namespace !== undefined) return this.#groups.get(namespace)?.values() ?? [];
    return [...this.#groups.values()].flatMap((groups) => [...groups.values()]);
  }

  /** Who has an address: of several pods the youngest, because the others are what is left of former holders. */
  owner(ip: Ip): Member | undefined {
    return this.#holders.get(ip)?.members[0];
  }

  /** The addresses of a group are to be looked at again. */
  touch(group: Group): void {
    group.signatures = new WeakMap();
    for (const { pod } of group.members) for (const ip of pod.addresses) this.#touched.add(ip);
  }

  /** So are the addresses within these ranges. */
  touchWithin(ranges: readonly KeyRange[]): void {
    for (const [ip, { key }] of this.#holders)
      if (ranges.some(({ first, last }) => first <= key && key <= last)) this.#touched.add(ip);
  }

  /** Addresses to look at since the last call. */
  take(): Ip[] {
    const touched = [...this.#touched];
    this.#touched.clear();
    return touched;
  }

  #join(key: string, pod: Pod): Member {
    const { namespace, labels, ports } = pod;
    const groups = this.#groups.get(namespace) ?? new Map<string, Group>();
    this.#groups.set(namespace, groups);
    const text = groupText(pod);
    let group = groups.get(text);
    if (!group) {
      group = { namespace, labels, ports, members: new Set(), matches: new Map(), signatures: new WeakMap() };
      groups.set(text, group);
      this.#prepare(group);
    }
    const member = { key, pod, group };
    group.members.add(member);
    return member;
  }

  #leave(member: Member): void {
    const { pod, group } = member;
    group.members.delete(member);
    const groups = this.#groups.get(group.namespace);
    if (group.members.size > 0 || !groups) return;
    groups.delete(groupText(pod));
    if (groups.size === 0) this.#groups.delete(group.namespace);
  }

  #hold(ip: Ip, before: Member | undefined, after: Member | undefined): void {
    this.#touched.add(ip);
    const known = this.#holders.get(ip);
    const others = known?.members.filter((member) => member !== before) ?? [];
    const members = after ? [...others, after].sort(youngestFirst) : others;
    if (members.length > 0) this.#holders.set(ip, { key: known?.key ?? addressKey(ip), members });
    else this.#holders.delete(ip);
  }
}

export function isPeer(pod: Pod): boolean {
  return !pod.finished && !pod.hostNetwork && pod.addresses.length > 0;
}

function groupText({ labels, ports }: Pod): string {
  return JSON.stringify([labels, ports]);
}

function youngestFirst(a: Member, b: Member): number {
  return b.pod.created - a.pod.created || (a.key < b.key ? -1 : 1);
}
