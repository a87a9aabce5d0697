/** The text of one manifest file -> plain values with the lines where they stand. Pure. */
import { createHash } from 'node:crypto';
import { LineCounter, parseDocument } from 'yaml';
import { parsePlainYaml } from './yaml-plain.js';

export interface TextDocument {
  /** Same digest, same value: lets an unchanged document of a changed file be reused. */
  readonly digest: string;
  /** First line of the document in its file, from 1. */
  readonly line: number;
  readonly text: string;
}

export type Decoded = { readonly value: unknown } | { readonly line: number; readonly message: string };

const MARKER = /^---(?=\s|$)/m;
/** Above this a fault is located by its document alone: finding the exact line needs the slow parser. */
const LOCATABLE_CHARACTERS = 256 * 1024;

/** The documents of a file: one of JSON, any number of YAML. A line that begins with `---` ends a document even in a scalar. */
export function splitDocuments(file: string, text: string): readonly TextDocument[] {
  const clean = text.startsWith('\ufeff') ? text.slice(1) : text;
  const parts = file.endsWith('.json') ? [clean] : clean.split(MARKER);
  const documents: TextDocument[] = [];
  let line = 1;
  for (const part of parts) {
    if (hasContent(part))
      documents.push({ digest: createHash('sha1').update(part).digest('base64'), line, text: part });
    line += countLines(part);
  }
  return documents;
}

/** The value of one document, or the line and cause of its error. */
export function decodeDocument(file: string, document: TextDocument): Decoded {
  return file.endsWith('.json') ? decodeJson(document) : decodeYaml(document);
}

/**
 * Finds the line of a field inside a document, or of its nearest parent where it is absent. The positions come from the full
 * parser, which runs at the first question only: most documents are without fault.
 */
export function lineLocator(document: TextDocument): (path: readonly (string | number)[]) => number {
  if (document.text.length > LOCATABLE_CHARACTERS) return () => firstContentLine(document);
  const counter = new LineCounter();
  let tree: ReturnType<typeof parseDocument> | undefined;
  return (path) => {
    tree ??= parseDocument(document.text, { lineCounter: counter });
    for (let length = path.length; length > 0; length--) {
      const offset = offsetOf(tree.getIn(path.slice(0, length), true));
      if (offset !== undefined) return document.line + counter.linePos(offset).line - 1;
    }
    return firstContentLine(document);
  };
}

/** `spec.ports[0].port` and `metadata.labels["a.b/c"]` as the steps that lead there. */
export function pathSteps(field: string): (string | number)[] {
  return [...field.matchAll(/\["([^"]*)"\]|\[(\d+)\]|([^.[\]]+)/g)].map(([, quoted, index, name]) =>
    index !== undefined ? Number(index) : (quoted ?? name ?? ''),
  );
}

function offsetOf(node: unknown): number | undefined {
  if (typeof node !== 'object' || node === null || !('range' in node)) return undefined;
  const { range } = node;
  const start: unknown = Array.isArray(range) ? range[0] : undefined;
  return typeof start === 'number' ? start : undefined;
}

function decodeJson(document: TextDocument): Decoded {
  try {
    return { value: JSON.parse(document.text) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const end = document.text.trimEnd().length;
    const position = Number(/position (\d+)/.exec(message)?.[1] ?? end);
    return {
      line: document.line + countLines(document.text.slice(0, Math.min(position, end))),
      message: `not JSON: ${message}`,
    };
  }
}

function decodeYaml(document: TextDocument): Decoded {
  const plain = parsePlainYaml(document.text);
  if (plain) return plain;
  try {
    const tree = parseDocument(document.text);
    const error = tree.errors[0];
    if (!error) return { value: tree.toJS() };
    return {
      line: document.line + (error.linePos?.[0].line ?? 1) - 1,
      message: `not YAML: ${firstSentence(error.message)}`,
    };
  } catch (error) {
    // toJS refuses documents that expand to far more than they hold.
    return {
      line: document.line,
      message: `not YAML: ${firstSentence(error instanceof Error ? error.message : String(error))}`,
    };
  }
}

/** The parser's message without its own position and code frame, which count from the start of the document. */
function firstSentence(message: string): string {
  return message.split(/ at line \d+|\n/)[0] ?? message;
}

function hasContent(text: string): boolean {
  return /^[^\S\n]*[^\s#%]/m.test(text);
}

function firstContentLine(document: TextDocument): number {
  const offset = document.text.search(/^[^\S\n]*[^\s#]/m);
  return document.line + countLines(document.text.slice(0, Math.max(offset, 0)));
}

function countLines(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count++;
  return count;
}
