/**
 * One object for many equal values: a hundred thousand pods have a few thousand different label sets, node names and port
 * lists. What is shared is never changed, so this is no more than a memory of what has been seen.
 */
import type { Labels } from './model.js';

/** Beyond this many different values it begins anew: those already handed out stay shared among their holders. */
const MOST = 65_536;

const strings = new Map<string, string>();
const values = new Map<string, unknown>();

export function shareText(text: string): string {
  const known = strings.get(text);
  if (known !== undefined) return known;
  if (strings.size >= MOST) strings.clear();
  strings.set(text, text);
  return text;
}

/** The labels with their keys in order, so that equal ones are written alike. */
export function shareLabels(labels: Labels): Labels {
  const entries = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return shared(`labels ${JSON.stringify(entries)}`, () =>
    Object.freeze(Object.fromEntries(entries.map(([key, value]) => [shareText(key), shareText(value)]))),
  );
}

export function shareList<T>(list: readonly T[]): readonly T[] {
  return shared(`list ${JSON.stringify(list)}`, () => Object.freeze(list));
}

/** `key` tells equal values apart from others, those of other types included. */
function shared<T>(key: string, make: () => T): T {
  const known = values.get(key);
  if (known !== undefined) return known as T;
  if (values.size >= MOST) values.clear();
  const value = make();
  values.set(key, value);
  return value;
}
