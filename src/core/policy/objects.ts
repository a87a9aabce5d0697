/** The objects that policy is made of, and which of them have changed. */
import type { Change, Namespace, NetworkPolicy, Pod } from '../model.js';

/** Keys of what has come, gone or changed: `ns/name`, for namespaces the name. */
export interface Touched {
  readonly pods: ReadonlySet<string>;
  readonly namespaces: ReadonlySet<string>;
  readonly policies: ReadonlySet<string>;
}

export class PolicyObjects {
  readonly #pods = new Map<string, Pod>();
  readonly #namespaces = new Map<string, Namespace>();
  readonly #policies = new Map<string, NetworkPolicy>();
  /** Not kept before somebody has asked for the first time. */
  #touched: Record<keyof Touched, Set<string>> | undefined;

  get pods(): ReadonlyMap<string, Pod> {
    return this.#pods;
  }

  get namespaces(): ReadonlyMap<string, Namespace> {
    return this.#namespaces;
  }

  get policies(): ReadonlyMap<string, NetworkPolicy> {
    return this.#policies;
  }

  /** Takes a change of these three kinds; others are none of its business. */
  apply(change: Change): void {
    const id = change.op === 'set' ? change.resource : change;
    const set = change.op === 'set' ? change.resource : undefined;
    const key = `${'namespace' in id ? id.namespace : ''}/${id.name}`;
    const touched = this.#touched;
    if (id.kind === 'Pod') put(this.#pods, key, set?.kind === 'Pod' ? set : undefined, touched?.pods);
    else if (id.kind === 'NetworkPolicy')
      put(this.#policies, key, set?.kind === 'NetworkPolicy' ? set : undefined, touched?.policies);
    else if (id.kind === 'Namespace')
      put(this.#namespaces, id.name, set?.kind === 'Namespace' ? set : undefined, touched?.namespaces);
  }

  /** What has been touched since the last call; at the first call everything. */
  take(): Touched {
    const { pods, namespaces, policies } = this;
    const touched = this.#touched ?? { pods: keys(pods), namespaces: keys(namespaces), policies: keys(policies) };
    this.#touched = { pods: new Set(), namespaces: new Set(), policies: new Set() };
    return touched;
  }
}

function put<T>(map: Map<string, T>, key: string, value: T | undefined, touched: Set<string> | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
  touched?.add(key);
}

function keys(map: ReadonlyMap<string, unknown>): Set<string> {
  return new Set(map.keys());
}
