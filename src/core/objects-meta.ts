/** What every object has: kind, namespace, name. */
import { readText, type Fault, type Field } from './objects-field.js';
import type { Kind, Resource } from './model.js';

export interface Identity {
  readonly namespace: string;
  readonly name: string;
}

/** Names one object of a source. The namespace is '' for kinds that have none. */
export interface ResourceId extends Identity {
  readonly kind: Kind;
}

/**
 * What a reader of one kind makes of an object. Faults that spoil the object are in the Field it was given; `notes` are
 * those that Kubernetes itself would pass over, so the rest of the object counts.
 */
export type Reading = { readonly resource: Resource; readonly notes?: readonly Fault[] } | { readonly ignored: string };

const NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;

/** metadata.name and, where the kind has one, metadata.namespace (`default` where absent, as kubectl has it). */
export function readIdentity(root: Field, namespaced: boolean): Identity {
  const metadata = root.at('metadata').object();
  const namespace = namespaced ? readName(metadata.at('namespace'), 63, 'default') : '';
  return { namespace, name: readName(metadata.at('name'), 253) };
}

/** ms since 1970, 0 where the object has none. */
export function readCreated(metadata: Field): number {
  const field = metadata.at('creationTimestamp');
  const text = readText(field);
  const time = text === '' ? 0 : Date.parse(text);
  if (!Number.isNaN(time)) return time;
  field.expected('a time such as 2025-01-31T12:00:00Z');
  return 0;
}

function readName(field: Field, length: number, fallback = ''): string {
  const name = readText(field, fallback);
  if (typeof field.value !== 'string' && !field.absent) return '';
  if (NAME.test(name) && name.length <= length) return name;
  field.expected(`a name of lower-case letters, digits, '-' and '.' (at most ${length})`);
  return '';
}
