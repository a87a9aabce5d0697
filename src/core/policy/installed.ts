/** What a dataplane has of policy, by its own numbers, and the single steps by which that changes. */
import type { DenyAction } from '../model.js';
import type { Ip } from '../net.js';
import { type Bundle, bundle, type PortRule } from './bundle.js';

/** Class of rules that hold for everybody, and of an address that has no class. */
export const ANYONE_ID = 0;
/** Class of this node's own addresses. */
export const NODE_ID = 1;

export interface InstalledSet {
  /** `Policies ns/a,ns/b ingress` */
  label: string;
  action: DenyAction;
  /** See maskOf; of rules for a class, and of rules for everybody. */
  classed: number;
  anyone: number;
  /** By class. */
  readonly rules: Map<number, Bundle>;
}

/** Numbers of an address's sets, 0: none. */
export interface EndpointSets {
  /** `ns/name` */
  readonly pod: string;
  readonly ingress: number;
  readonly egress: number;
  readonly auditIngress: number;
  readonly auditEgress: number;
}

export interface Installed {
  /** By prefix `address/bits`. */
  readonly classes: Map<string, number>;
  readonly sets: Map<number, InstalledSet>;
  readonly endpoints: Map<Ip, EndpointSets>;
}

/** One write. */
export type Step =
  | {
      readonly do: 'allow' | 'forbid';
      readonly set: number;
      readonly class: number;
      readonly rules: readonly PortRule[];
    }
  | { readonly do: 'set'; readonly set: number; readonly value: Omit<InstalledSet, 'rules'> }
  | { readonly do: 'unset'; readonly set: number }
  | { readonly do: 'class'; readonly prefix: string; readonly class: number }
  | { readonly do: 'unclass'; readonly prefix: string }
  | { readonly do: 'endpoint'; readonly ip: Ip; readonly sets: EndpointSets | undefined };

/** Notes a step that has been carried out. */
export function note(installed: Installed, step: Step): void {
  switch (step.do) {
    case 'allow':
      setOf(installed, step.set).rules.set(step.class, bundle(step.rules));
      break;
    case 'forbid':
      installed.sets.get(step.set)?.rules.delete(step.class);
      break;
    case 'set':
      Object.assign(setOf(installed, step.set), step.value);
      break;
    case 'unset':
      installed.sets.delete(step.set);
      break;
    case 'class':
      installed.classes.set(step.prefix, step.class);
      break;
    case 'unclass':
      installed.classes.delete(step.prefix);
      break;
    case 'endpoint':
      if (step.sets) installed.endpoints.set(step.ip, step.sets);
      else installed.endpoints.delete(step.ip);
      break;
  }
}

function setOf(installed: Installed, id: number): InstalledSet {
  const known = installed.sets.get(id);
  if (known) return known;
  const made: InstalledSet = { label: '', action: 'drop', classed: 0, anyone: 0, rules: new Map() };
  installed.sets.set(id, made);
  return made;
}
