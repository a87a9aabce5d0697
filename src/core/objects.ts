/**
 * Raw Kubernetes objects (unknown JSON) -> model. Pure, and total: any JSON value gives an answer, none throws. A new kind is
 * one reader in a file of its own and one line in KINDS.
 */
import { asRecord, describeValue, Field, type Fault } from './objects-field.js';
import { readEndpointSlice } from './objects-endpoints.js';
import { readIdentity, type Identity, type Reading, type ResourceId } from './objects-meta.js';
import { readNamespace } from './objects-namespace.js';
import { readNode } from './objects-node.js';
import { readPod } from './objects-pod.js';
import { readNetworkPolicy } from './objects-policy.js';
import { readService } from './objects-service.js';
import { resourceLabel, type Kind, type Problem, type Resource } from './model.js';

export type { ResourceId } from './objects-meta.js';

/** `id` is there as soon as the object could be named, so that a source can tell what to keep or to delete. */
export type Parsed =
  | {
      readonly kind: 'resource';
      readonly id: ResourceId;
      readonly resource: Resource;
      readonly problems: readonly Problem[];
    }
  | { readonly kind: 'ignored'; readonly id: ResourceId | undefined; readonly reason: string }
  | { readonly kind: 'invalid'; readonly id: ResourceId | undefined; readonly problems: readonly Problem[] };

interface KindReader {
  readonly kind: Kind;
  readonly apiVersion: string;
  readonly namespaced: boolean;
  read(root: Field, id: Identity): Reading;
}

const KINDS: readonly KindReader[] = [
  { kind: 'Service', apiVersion: 'v1', namespaced: true, read: readService },
  { kind: 'EndpointSlice', apiVersion: 'discovery.k8s.io/v1', namespaced: true, read: readEndpointSlice },
  { kind: 'Node', apiVersion: 'v1', namespaced: false, read: readNode },
  { kind: 'Pod', apiVersion: 'v1', namespaced: true, read: readPod },
  { kind: 'Namespace', apiVersion: 'v1', namespaced: false, read: readNamespace },
  { kind: 'NetworkPolicy', apiVersion: 'networking.k8s.io/v1', namespaced: true, read: readNetworkPolicy },
];

/** The version of the API in which objects of this kind are read. */
export function apiVersionOf(kind: Kind): string {
  return KINDS.find((entry) => entry.kind === kind)?.apiVersion ?? '';
}

/** Reads one object of whatever kind its `kind` names; kinds that Weir does not use are ignored. */
export function parseResource(raw: unknown): Parsed {
  const record = asRecord(raw);
  if (!record) return nameless('must be an object with kind and metadata', raw);
  const kind = Object.hasOwn(record, 'kind') ? record['kind'] : undefined;
  if (typeof kind !== 'string' || kind === '') return nameless('needs a kind', kind, 'kind');
  const reader = KINDS.find((entry) => entry.kind === kind);
  if (!reader) return { kind: 'ignored', id: undefined, reason: `kind ${describeValue(kind)} is not used by Weir` };
  return parseWith(reader, raw, true);
}

/** Reads an object that is known to be of this kind: the items of an API list carry neither kind nor apiVersion. */
export function parseAs(kind: Kind, raw: unknown): Parsed {
  const reader = KINDS.find((entry) => entry.kind === kind);
  return reader ? parseWith(reader, raw, false) : { kind: 'ignored', id: undefined, reason: `no reader for ${kind}` };
}

/** Who this object is, or undefined where it has no usable name. */
export function identify(kind: Kind, raw: unknown): ResourceId | undefined {
  const faults: Fault[] = [];
  const reader = KINDS.find((entry) => entry.kind === kind);
  const id = reader && readIdentity(new Field(raw, '', faults), reader.namespaced);
  return id && faults.length === 0 ? { kind, ...id } : undefined;
}

/** The objects in one document: the items of a List (of any kind), or the value itself. */
export function expandList(raw: unknown): readonly unknown[] {
  const record = asRecord(raw);
  const kind = record?.['kind'];
  const items = record?.['items'];
  if (typeof kind !== 'string' || !kind.endsWith('List') || !(Array.isArray(items) || items === null)) return [raw];
  if (kind === 'List' || items === null) return items ?? [];
  const { apiVersion } = record ?? {};
  return items.map((item: unknown) => ({ apiVersion, kind: kind.slice(0, -'List'.length), ...asRecord(item) }));
}

/** One text per object, usable as a Map key: no part of a valid name holds a slash. */
export function resourceKey(id: { readonly kind: string; readonly namespace?: string; readonly name: string }): string {
  return `${id.kind}/${id.namespace ?? ''}/${id.name}`;
}

/** Whether two model values are the same in every field. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, i) => sameValue(item, b[i]));
  const left = asRecord(a);
  const right = asRecord(b);
  if (!left || !right) return false;
  const keys = Object.keys(left);
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => Object.hasOwn(right, key) && sameValue(left[key], right[key]))
  );
}

function parseWith(reader: KindReader, raw: unknown, checkVersion: boolean): Parsed {
  const faults: Fault[] = [];
  const root = new Field(raw, '', faults);
  const identity = readIdentity(root.object(), reader.namespaced);
  const id: ResourceId | undefined = faults.length === 0 ? { kind: reader.kind, ...identity } : undefined;
  const label = resourceLabel({
    kind: reader.kind,
    namespace: identity.namespace,
    name: identity.name || '(without a name)',
  });
  const uid = asRecord(root.at('metadata').value)?.['uid'];
  const about = id && { ...id, uid: typeof uid === 'string' ? uid : '' };
  const event = about && ({ about, reason: 'InvalidObject' } as const);
  const explain = (fault: Fault): Problem => ({ object: label, ...fault, ...(event ? { event } : {}) });
  const version = root.at('apiVersion');
  if (checkVersion && version.value !== reader.apiVersion) version.expected(reader.apiVersion);
  const reading = faults.length === 0 ? reader.read(root, identity) : undefined;
  if (reading && 'ignored' in reading) return { kind: 'ignored', id, reason: reading.ignored };
  if (reading && id && faults.length === 0) {
    return { kind: 'resource', id, resource: reading.resource, problems: (reading.notes ?? []).map(explain) };
  }
  return { kind: 'invalid', id, problems: faults.map(explain) };
}

function nameless(message: string, value: unknown, field = ''): Parsed {
  return {
    kind: 'invalid',
    id: undefined,
    problems: [{ object: 'object', field, message: `${message}, got ${describeValue(value)}` }],
  };
}
