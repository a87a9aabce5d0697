/** Policies of the packet tests in few words. */
import type { Ip } from '../../src/core/net.js';
import type { PolicyEntry, PolicySet, Subject } from '../../src/core/policy/state.js';
import type { Target } from '../../src/core/policy/transition.js';

export const RULE = 'NetworkPolicy shop/web ingress[0]';

/** A rule: who, and on which port; without a port any, of any protocol. */
export function allow(peers: string, protocol: PolicyEntry['protocol'] = 'any', port = 0, bits = 16): PolicyEntry {
  return { class: peers, protocol, port, bits: port === 0 ? 0 : bits, rule: RULE };
}

export interface Isolation {
  /** Addresses of the pod. */
  readonly pod: readonly Ip[];
  readonly ingress?: readonly PolicyEntry[];
  readonly egress?: readonly PolicyEntry[];
  readonly auditIngress?: readonly PolicyEntry[];
  readonly action?: PolicySet['action'];
}

/** classes: who the peers in rules are, by prefix. */
export function policies(classes: Readonly<Record<string, string>>, ...isolations: readonly Isolation[]): Target {
  const sets = new Map<string, PolicySet>();
  const subjects = new Map<Ip, Subject>();
  for (const [index, { pod, action = 'drop', ...directions }] of isolations.entries()) {
    const names: Record<string, string> = {};
    for (const [slot, entries] of Object.entries(directions)) {
      const direction = /ingress/i.test(slot) ? 'ingress' : 'egress';
      const isolating = slot.startsWith('audit') ? ['shop/trial', 'shop/web'] : ['shop/web'];
      names[slot] = `${slot} ${index}`;
      sets.set(`${slot} ${index}`, { direction, policies: isolating, action, entries });
    }
    for (const ip of pod) subjects.set(ip, { pod: `shop/pod-${index}`, ...names });
  }
  return { classes: new Map(Object.entries(classes)), sets, subjects };
}

/** A prefix that holds this address alone. */
export function only(ip: Ip): string {
  return `${ip}/${ip.includes(':') ? 128 : 32}`;
}
