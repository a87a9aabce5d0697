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
  #touched = nothing();

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
    const { kind, name } = change.op === 'set' ? change.resource : change;
    const resource = change.op === 'set' ? change.resource : undefined;
    const key = `${change.op === 'set' ? ('namespace' in change.resource ? change.resource.namespace : '') : change.namespace}/${name}`;
    if (kind === 'Pod') put(this.#pods, key, resource?.kind === kind ? resource : undefined, this.#touched.pods);
    else if (kind === 'NetworkPolicy')
      put(this.#policies, key, resource?.kind === kind ? resource : undefined, this.#touched.policies);
    else if (kind === 'Namespace')
      put(this.#namespaces, name, resource?.kind === kind ? resource : undefined, this.#touched.namespaces);
  }

  /** What has been touched since the last call. */
  take(): Touched {
    const touched = this.#touched;
    this.#touched = nothing();
    return touched;
  }
}

function put<T>(map: Map<string, T>, key: string, value: T | undefined, touched: Set<string>): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
  touched.add(key);
}

function nothing(): { pods: Set<string>; namespaces: Set<string>; policies: Set<string> } {
  return { pods: new Set(), namespaces: new Set(), policies: new Set() };
}
