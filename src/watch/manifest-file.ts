/** One manifest file -> its objects; several files -> the set of objects that should be in force. Pure. */
import { resourceLabel, type Problem, type Resource } from '../core/model.js';
import { expandList, parseResource, resourceKey, type ResourceId } from '../core/objects.js';
import type { SourceProblem } from './events.js';
import { decodeDocument, lineLocator, pathSteps, splitDocuments, type TextDocument } from './manifest-text.js';

/** One object of a file. Without a resource it is invalid here, and its last good version counts. */
export interface ManifestEntry {
  readonly key: string;
  readonly id: ResourceId;
  readonly resource: Resource | undefined;
}

interface DocumentContent {
  readonly digest: string;
  readonly entries: readonly ManifestEntry[];
  readonly problems: readonly SourceProblem[];
  readonly notes: readonly string[];
  /** Something here could not even be named, so nothing may be concluded from what is missing. */
  readonly nameless: boolean;
}

export interface FileContent {
  readonly name: string;
  readonly entries: readonly ManifestEntry[];
  readonly problems: readonly SourceProblem[];
  /** What was passed over on purpose, such as kinds that Weir does not use. */
  readonly notes: readonly string[];
  readonly documents: readonly DocumentContent[];
}

export type FileReading = FileContent | { readonly broken: SourceProblem };

export interface MergedFiles {
  /** By key; undefined stands for "as it was": the object is there but invalid. */
  readonly desired: ReadonlyMap<string, Resource | undefined>;
  readonly problems: readonly SourceProblem[];
}

/** Reads the text of a file. A syntax error anywhere breaks the whole file: half a file must not delete the other half. */
export function readManifest(name: string, text: string, before?: FileContent): FileReading {
  const documents = splitDocuments(name, text);
  if (text.trim() === '' && before && before.entries.length > 0) {
    return { broken: problem(name, 'is empty: its objects stay in force until it has content or is removed') };
  }
  const known = new Map(before?.documents.map((document) => [document.digest, document]));
  const contents: DocumentContent[] = [];
  for (const document of documents) {
    const same = known.get(document.digest);
    // Problems hold line numbers, so only a document without any may be taken over from the last reading.
    if (same && same.problems.length + same.notes.length === 0) {
      contents.push(same);
      continue;
    }
    const decoded = decodeDocument(name, document);
    if (!('value' in decoded)) return { broken: problem(`${name}:${decoded.line}`, decoded.message) };
    contents.push(readDocument(name, document, decoded.value));
  }
  return assemble(name, contents, before);
}

/** The objects of all files, first file first. An object in two places counts where it comes first. */
export function mergeFiles(files: readonly FileContent[]): MergedFiles {
  const desired = new Map<string, Resource | undefined>();
  const owners = new Map<string, string>();
  const problems: SourceProblem[] = [];
  for (const file of files) {
    problems.push(...file.problems);
    for (const entry of file.entries) {
      const owner = owners.get(entry.key);
      if (owner === undefined) {
        owners.set(entry.key, file.name);
        desired.set(entry.key, entry.resource);
        continue;
      }
      const where = owner === file.name ? `twice in ${owner}` : `in ${owner} and in ${file.name}`;
      problems.push(problem(resourceLabel(entry.id), `stands ${where}: the first one counts, remove the other`));
    }
  }
  return { desired, problems };
}

/** Whether objects of the earlier content are missing from the later one. */
export function losesObjects(before: FileContent, after: FileContent): boolean {
  const keys = new Set(after.entries.map((entry) => entry.key));
  return before.entries.some((entry) => !keys.has(entry.key));
}

type Steps = readonly (string | number)[];

function readDocument(file: string, document: TextDocument, value: unknown): DocumentContent {
  const entries: ManifestEntry[] = [];
  const problems: SourceProblem[] = [];
  const notes: string[] = [];
  let nameless = false;
  const lineOf = lineLocator(document);
  for (const { element, place } of elementsOf(value)) {
    const parsed = parseResource(element);
    const { id } = parsed;
    if (parsed.kind === 'ignored') {
      if (!id) notes.push(`${file}:${lineOf(place)}: ${parsed.reason}`);
      continue;
    }
    const where = (found: Problem): string => `${file}:${lineOf([...place, ...pathSteps(found.field)])}`;
    problems.push(
      ...parsed.problems.map((found): SourceProblem => ({
        ...found,
        code: 'WEIR_INVALID_OBJECT',
        message: `${found.message} (${where(found)})`,
      })),
    );
    if (id)
      entries.push({ key: resourceKey(id), id, resource: parsed.kind === 'resource' ? parsed.resource : undefined });
    else nameless = true;
  }
  return { digest: document.digest, entries, problems, notes, nameless };
}

/** The objects of a document, with the steps that lead to each: one object, a List of them, or a plain list. */
function elementsOf(value: unknown): { element: unknown; place: Steps }[] {
  if (value === null) return [];
  if (Array.isArray(value)) return value.map((element: unknown, i) => ({ element, place: [i] }));
  const elements = expandList(value);
  return elements.map((element, i) => ({ element, place: element === value ? [] : ['items', i] }));
}

function assemble(name: string, documents: readonly DocumentContent[], before: FileContent | undefined): FileContent {
  const entries = documents.flatMap((document) => document.entries);
  if (before && documents.some((document) => document.nameless)) {
    const keys = new Set(entries.map((entry) => entry.key));
    for (const entry of before.entries) if (!keys.has(entry.key)) entries.push({ ...entry, resource: undefined });
  }
  const problems = documents.flatMap((document) => document.problems);
  return { name, entries, problems, notes: documents.flatMap((document) => document.notes), documents };
}

function problem(object: string, message: string): SourceProblem {
  return { object, field: '', message, code: 'WEIR_MANIFEST' };
}
