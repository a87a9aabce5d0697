/** One line of a watch, and the parts of an API list: unknown JSON -> what the reflector acts on. Pure. */
import { asRecord } from '../core/objects-field.js';

export type WatchEvent =
  | {
      readonly kind: 'changed' | 'deleted' | 'bookmark';
      readonly object: unknown;
      readonly version: string | undefined;
    }
  | { readonly kind: 'error'; readonly status: number; readonly message: string }
  | { readonly kind: 'malformed'; readonly message: string };

export interface ListPage {
  readonly items: readonly unknown[];
  readonly version: string;
  /** '' on the last page. */
  readonly next: string;
}

const KINDS = new Map<unknown, 'changed' | 'deleted' | 'bookmark'>([
  ['ADDED', 'changed'],
  ['MODIFIED', 'changed'],
  ['DELETED', 'deleted'],
  ['BOOKMARK', 'bookmark'],
]);

export function parseWatchLine(line: string): WatchEvent {
  let raw: unknown;
  try {
    raw = JSON.parse(line);
  } catch {
    return { kind: 'malformed', message: `a watch event is not JSON: ${JSON.stringify(line.slice(0, 80))}` };
  }
  const event = asRecord(raw);
  const object = asRecord(event?.['object']);
  const kind = KINDS.get(event?.['type']);
  if (kind && object) return { kind, object, version: versionOf(object) };
  if (event?.['type'] !== 'ERROR')
    return { kind: 'malformed', message: `a watch event has no known type: ${JSON.stringify(line.slice(0, 80))}` };
  const status = object?.['code'];
  const message = object?.['message'];
  // Older servers say "Expired" or "Gone" by reason alone.
  const expired = object?.['reason'] === 'Expired' || object?.['reason'] === 'Gone';
  return {
    kind: 'error',
    status: expired ? 410 : typeof status === 'number' ? status : 0,
    message: typeof message === 'string' ? message : '',
  };
}

/** The page, or undefined where the answer is no Kubernetes list. */
export function parseListPage(raw: unknown): ListPage | undefined {
  const list = asRecord(raw);
  const metadata = asRecord(list?.['metadata']);
  const version = metadata && versionOf({ metadata });
  const items = list?.['items'] ?? [];
  if (!version || !Array.isArray(items)) return undefined;
  const next = metadata?.['continue'];
  return { items, version, next: typeof next === 'string' ? next : '' };
}

function versionOf(object: Readonly<Record<string, unknown>>): string | undefined {
  const version = asRecord(object['metadata'])?.['resourceVersion'];
  return typeof version === 'string' && version !== '' ? version : undefined;
}
