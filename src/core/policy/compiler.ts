/**
 * The policy compiler: pods, namespaces and policies of the cluster become what one node must enforce. Pure, and incremental:
 * an update costs what it changes. It ends in the same state as a compile from scratch, whatever the order of events.
 */
import type { Labels } from '../model.js';
import { familyOf, formatPrefix, type Ip } from '../net.js';
import { impliedLabels } from '../objects-namespace.js';
import { type Atom, Atoms, type BlockAtom, isBlock, matchPod, resolve, signatureOf } from './atoms.js';
import { addressKey, keyRange, Partition, type Region } from './blocks.js';
import { type Class, Classes } from './classes.js';
import type { PolicyObjects } from './objects.js';
import { type Group, type Member, PodIndex } from './pods.js';
import { Selection } from './selection.js';
import { type SetPlan, Sets } from './sets.js';
import type { PolicyDelta, PolicyOptions, PolicyState, Subject } from './state.js';
import { Tracked } from './tracked.js';

export class PolicyCompiler {
  readonly #objects: PolicyObjects;
  readonly #options: PolicyOptions;
  readonly #atoms = new Atoms();
  readonly #selection = new Selection(this.#atoms);
  readonly #index = new PodIndex((group) => this.#match(group, this.#atoms.values()));
  readonly #locals = new Map<string, readonly Ip[]>();
  readonly #classes = new Classes();
  readonly #sets = new Sets();
  readonly #subjects = new Tracked<Ip, Subject>();
  readonly #pods = new Tracked<Ip, string>();
  #partition = new Partition();
  /** A live view of the tables: each update changes it. */
  readonly state: PolicyState = {
    classes: this.#classes.rows.view,
    sets: this.#sets.table.view,
    subjects: this.#subjects.view,
    pods: this.#pods.view,
  };

  /** The compiler is the one that asks these objects what has changed. */
  constructor(objects: PolicyObjects, options: PolicyOptions) {
    this.#objects = objects;
    this.#options = options;
  }

  /** Brings the state to what the objects say now, and tells the difference. What is unchanged stays the same object. */
  update(): PolicyDelta {
    const { pods, namespaces, policies } = this.#objects.take();
    for (const key of policies) this.#selection.put(key, this.#objects.policies.get(key));
    if (namespaces.size > 0) this.#selection.forgetSets();
    for (const name of namespaces) for (const group of this.#index.groups(name)) this.#rematch(group);
    for (const key of pods) this.#putPod(key);
    this.#selection.activate(this.#localGroups());
    this.#followAtoms();
    for (const ip of this.#index.take()) this.#classify(ip);
    const { born, dead } = this.#classes.take();
    const plans = new Map<string, SetPlan>();
    this.#followSubjects(plans);
    this.#sets.update(plans, this.#classes, born, dead);
    return {
      classes: this.#classes.rows.take(),
      sets: this.#sets.table.take(),
      subjects: this.#subjects.take(),
      pods: this.#pods.take(),
    };
  }

  #putPod(key: string): void {
    const pod = this.#objects.pods.get(key);
    this.#index.put(key, pod);
    if (pod && pod.nodeName !== '' && pod.nodeName === this.#options.nodeName) this.#locals.set(key, pod.addresses);
    else this.#locals.delete(key);
  }

  /** Pods of this node by the addresses that are theirs. */
  *#local(): Generator<readonly [Ip, Member]> {
    for (const [key, addresses] of this.#locals) {
      for (const ip of addresses) {
        const member = this.#index.owner(ip);
        if (member?.key === key) yield [ip, member];
      }
    }
  }

  #localGroups(): Set<Group> {
    return new Set(Array.from(this.#local(), ([, { group }]) => group));
  }

  #labelsOf(namespace: string): Labels {
    return this.#objects.namespaces.get(namespace)?.labels ?? impliedLabels(namespace);
  }

  #match(group: Group, atoms: Iterable<Atom>): boolean {
    const labels = this.#labelsOf(group.namespace);
    let found = false;
    for (const atom of atoms) {
      const port = matchPod(atom, group, labels);
      if (port === undefined) continue;
      group.matches.set(atom, port);
      found = true;
    }
    return found;
  }

  #rematch(group: Group): void {
    group.matches.clear();
    this.#match(group, this.#atoms.values());
    this.#index.touch(group);
  }

  /** Atoms that have come are looked for in every group, those that have gone are taken out. */
  #followAtoms(): void {
    const { fresh, gone } = this.#atoms.take();
    if (fresh.length + gone.length === 0) return;
    const confined = new Map<string | undefined, Atom[]>();
    for (const atom of fresh) confined.set(atom.namespace, [...(confined.get(atom.namespace) ?? []), atom]);
    for (const group of this.#index.groups()) {
      let changed = this.#match(group, confined.get(undefined) ?? []);
      if (this.#match(group, confined.get(group.namespace) ?? [])) changed = true;
      for (const atom of gone) if (group.matches.delete(atom)) changed = true;
      if (changed) this.#index.touch(group);
    }
    const blocks = [...fresh, ...gone].filter(isBlock);
    if (blocks.length > 0) this.#cut(blocks);
  }

  /** The regions of the address blocks, anew; only what lies within one of those that changed can be in another class. */
  #cut(changed: readonly BlockAtom[]): void {
    this.#partition = new Partition([...this.#atoms.values()].filter(isBlock));
    const rows = new Map(this.#partition.rows.map((region) => [formatPrefix(region.prefix), region]));
    for (const prefix of [...this.#classes.prefixes('blocks')])
      if (!rows.has(prefix)) this.#classes.put('blocks', prefix, undefined);
    for (const [prefix, { signature }] of rows) this.#classes.put('blocks', prefix, this.#classes.of(signature));
    this.#index.touchWithin(changed.map((atom) => keyRange(atom.peer.cidr)));
  }

  #classify(ip: Ip): void {
    const member = this.#index.owner(ip);
    const found = member && this.#classOf(member.group, this.#partition.at(addressKey(ip)));
    this.#classes.put('pods', `${ip}/${familyOf(ip) === 'v4' ? 32 : 128}`, found);
    this.#pods.set(ip, member?.key);
  }

  /** The class of such a pod at such an address; none where the region says the same. */
  #classOf(group: Group, region: Region): Class | undefined {
    const known = group.signatures.get(region);
    if (known !== undefined) return known === 'as around' ? undefined : this.#classes.of(known);
    const matches = new Map(group.matches);
    for (const atom of region.atoms) {
      const port = resolve(atom, group.ports);
      if (port !== undefined) matches.set(atom, port);
    }
    const found = matches.size === region.signature.matches.size ? 'as around' : signatureOf(matches);
    group.signatures.set(region, found);
    return found === 'as around' ? undefined : this.#classes.of(found);
  }

  #followSubjects(plans: Map<string, SetPlan>): void {
    const former = new Set(this.#subjects.view.keys());
    const fallback = this.#options.denyAction;
    for (const [ip, { key, group }] of this.#local()) {
      former.delete(ip);
      const sets = this.#selection.sets(group, this.#objects.namespaces.get(group.namespace), fallback);
      for (const [name, plan] of sets.plans) if (!plans.has(name)) plans.set(name, plan);
      const before = this.#subjects.view.get(ip);
      const now: Subject = { pod: key, ...sets.names };
      if (!before || !sameSubject(before, now)) this.#subjects.set(ip, now);
    }
    for (const ip of former) this.#subjects.set(ip, undefined);
  }
}

/** The state of a set of objects, from scratch. */
export function compilePolicy(objects: PolicyObjects, options: PolicyOptions): PolicyState {
  const compiler = new PolicyCompiler(objects, options);
  compiler.update();
  return compiler.state;
}

function sameSubject(a: Subject, b: Subject): boolean {
  return (
    a.pod === b.pod &&
    a.ingress === b.ingress &&
    a.egress === b.egress &&
    a.auditIngress === b.auditIngress &&
    a.auditEgress === b.auditEgress
  );
}
