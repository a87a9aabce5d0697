import { resourceKey, sameValue, type ResourceId } from '../core/objects.js';
import type { Change, Resource } from '../core/model.js';

/** The objects in force as a source last told them; it turns whatever is read again into real differences. */
export class ResourceStore {
  readonly #held = new Map<string, Resource>();

  get size(): number {
    return this.#held.size;
  }

  has(key: string): boolean {
    return this.#held.has(key);
  }

  /** The change that this version makes, or nothing where it says the same as before. */
  put(resource: Resource): Change[] {
    const key = resourceKey(resource);
    if (sameValue(this.#held.get(key), resource)) return [];
    this.#held.set(key, resource);
    return [{ op: 'set', resource }];
  }

  remove(id: ResourceId): Change[] {
    return this.#held.delete(resourceKey(id))
      ? [{ op: 'delete', kind: id.kind, namespace: id.namespace, name: id.name }]
      : [];
  }

  /** Removes every object whose key is not among these. */
  retain(keys: { has(key: string): boolean }): Change[] {
    const gone = [...this.#held].filter(([key]) => !keys.has(key));
    return gone.flatMap(([, { kind, name, ...rest }]) =>
      this.remove({ kind, name, namespace: 'namespace' in rest ? rest.namespace : '' }),
    );
  }
}
