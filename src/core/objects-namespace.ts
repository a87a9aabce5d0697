/** v1 Namespace -> model. */
import { Field, readChoice, readLabels, type Fault } from './objects-field.js';
import type { Identity, Reading } from './objects-meta.js';
import { DENY_ACTIONS, type DenyAction, type Labels } from './model.js';

export const NAME_LABEL = 'kubernetes.io/metadata.name';

/** Reads a Namespace. The API server sets the label of its name; a manifest need not. */
export function readNamespace(root: Field, id: Identity): Reading {
  const metadata = root.at('metadata');
  const notes: Fault[] = [];
  return {
    notes,
    resource: {
      kind: 'Namespace',
      name: id.name,
      labels: { ...readLabels(metadata.at('labels')), ...impliedLabels(id.name) },
      ...readDenyAction(metadata, notes),
    },
  };
}

/** Labels of a namespace of which nothing but the name is known. */
export function impliedLabels(name: string): Labels {
  return { [NAME_LABEL]: name };
}

const DENY_ACTION = 'weir.io/deny-action';

/** The annotation weir.io/deny-action. One that is not understood is noted and counts as absent. */
export function readDenyAction(metadata: Field, notes: Fault[]): { readonly denyAction?: DenyAction } {
  const field = annotation(metadata, DENY_ACTION, notes);
  if (field.absent) return {};
  const before = notes.length;
  const denyAction = readChoice(field, DENY_ACTIONS, 'drop');
  return notes.length > before ? {} : { denyAction };
}

/** One annotation, with faults that do not spoil the object. */
export function annotation(metadata: Field, name: string, notes: Fault[]): Field {
  const value = metadata.at('annotations').object().at(name);
  return new Field(value.value, `metadata.annotations["${name}"]`, notes);
}
