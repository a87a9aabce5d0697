/**
 * The YAML that kubectl and Helm print (block mappings and lists, one-line scalars, literal blocks), some thirty times faster
 * than the full parser. Whatever lies outside that subset gives undefined, and the caller asks the full parser: this one never
 * guesses, and a property test holds the two to the same answers.
 */

interface Line {
  readonly indent: number;
  readonly text: string;
}

/** Any answer that is not "outside the subset". */
export interface PlainYaml {
  readonly value: unknown;
}

class OutsideSubset extends Error {}

const KEY = /^([A-Za-z_][\w./-]*):(?: +(.*))?$/;
const QUOTED_KEY = /^"([\w./ -]+)":(?: +(.*))?$/;
const DOUBLE_QUOTED = /^"(?:[^"\\]|\\["\\/bfnrt])*"$/;
const SINGLE_QUOTED = /^'(?:[^']|'')*'$/;
const WORDS = new Map<string, unknown>([
  ...['~', 'null', 'Null', 'NULL', ''].map((word): [string, unknown] => [word, null]),
  ...['true', 'True', 'TRUE'].map((word): [string, unknown] => [word, true]),
  ...['false', 'False', 'FALSE'].map((word): [string, unknown] => [word, false]),
]);
const NUMBER = /^-?(?:0|[1-9]\d{0,14})(?:\.\d{1,9})?$/;
/** What a plain scalar may begin with: no indicator, no sign. */
const PLAIN = /^[\w/(]/;
/** Numbers in other spellings (octal, hex, exponents, leading zeros) are left to the full parser. */
const ODD_NUMBER = /^(?:[\d.]+(?:[eE][-+]?\d*)?$|0[xo])/;
const ADDRESS = /^\d+(?:\.\d+){2,3}(?:\/\d+)?$/;

/** The value of one document, or undefined where it is not of the plain kind. */
export function parsePlainYaml(text: string): PlainYaml | undefined {
  if (/[^\x20-\x7e\r\n]/.test(text)) return undefined;
  try {
    return new PlainReader(text).document();
  } catch (error) {
    if (error instanceof OutsideSubset) return undefined;
    throw error;
  }
}

class PlainReader {
  readonly #lines: string[];
  #next = 0;
  #line: Line | undefined;

  constructor(text: string) {
    this.#lines = text.split(/\r?\n/);
    this.#advance();
  }

  document(): PlainYaml {
    const value = this.#line ? this.#node(this.#line.indent) : null;
    if (this.#line) throw new OutsideSubset();
    return { value };
  }

  /** Moves to the next line that is neither blank nor a comment. */
  #advance(): void {
    for (; this.#next < this.#lines.length; this.#next++) {
      const raw = this.#lines[this.#next] ?? '';
      const text = raw.trim();
      if (text === '' || text.startsWith('#')) continue;
      this.#next++;
      this.#line = { indent: raw.length - raw.trimStart().length, text };
      return;
    }
    this.#line = undefined;
  }

  #node(indent: number): unknown {
    const text = this.#line?.text ?? '';
    return text === '-' || text.startsWith('- ') ? this.#list(indent) : this.#mapping(indent);
  }

  #list(indent: number): unknown[] {
    const items: unknown[] = [];
    while (this.#line?.indent === indent && (this.#line.text === '-' || this.#line.text.startsWith('- '))) {
      const rest = this.#line.text.slice(1).trimStart();
      if (rest.startsWith('- ') || KEY.test(rest) || QUOTED_KEY.test(rest)) {
        const inner = indent + this.#line.text.length - rest.length;
        this.#line = { indent: inner, text: rest };
        items.push(this.#node(inner));
      } else {
        items.push(this.#value(rest, indent, indent + 1));
      }
    }
    this.#refuseDeeper(indent);
    return items;
  }

  #mapping(indent: number): Record<string, unknown> {
    const out: Record<string, unknown> = {};
    while (this.#line?.indent === indent) {
      const match = KEY.exec(this.#line.text) ?? QUOTED_KEY.exec(this.#line.text);
      const key = match?.[1];
      if (!match || key === undefined || key === '__proto__' || WORDS.has(key) || Object.hasOwn(out, key))
        throw new OutsideSubset();
      out[key] = this.#value(match[2] ?? '', indent, indent);
    }
    this.#refuseDeeper(indent);
    return out;
  }

  /** A deeper line here continues a scalar over several lines, or is wrong. */
  #refuseDeeper(indent: number): void {
    if (this.#line && this.#line.indent > indent) throw new OutsideSubset();
  }

  /** What follows `key:` or `-`; `least` is the smallest indentation at which a list may follow on the next lines. */
  #value(rest: string, indent: number, least: number): unknown {
    if (rest === '|' || rest === '|-') return this.#literal(indent, rest === '|');
    this.#advance();
    if (rest !== '') {
      this.#refuseDeeper(indent);
      return scalar(rest);
    }
    if (!this.#line || this.#line.indent < least) return null;
    if (this.#line.indent > indent) return this.#node(this.#line.indent);
    return this.#line.text === '-' || this.#line.text.startsWith('- ') ? this.#list(indent) : null;
  }

  /** A literal block: the lines below that are indented deeper, without the common indentation. */
  #literal(parent: number, clip: boolean): string {
    const content: string[] = [];
    let indent = 0;
    for (; this.#next < this.#lines.length; this.#next++) {
      const raw = this.#lines[this.#next] ?? '';
      const depth = raw.length - raw.trimStart().length;
      if (raw.trim() === '') {
        if (raw !== '') throw new OutsideSubset();
        content.push('');
        continue;
      }
      if (indent === 0) indent = depth;
      if (depth <= parent || indent === 0) break;
      if (depth < indent) throw new OutsideSubset();
      content.push(raw.slice(indent));
    }
    while (content.at(-1) === '') content.pop();
    this.#advance();
    this.#refuseDeeper(parent);
    return content.length > 0 && clip ? `${content.join('\n')}\n` : content.join('\n');
  }
}

function scalar(text: string): unknown {
  if (text === '{}') return {};
  if (text === '[]') return [];
  if (DOUBLE_QUOTED.test(text)) return JSON.parse(text);
  if (SINGLE_QUOTED.test(text)) return text.slice(1, -1).replaceAll("''", "'");
  if (WORDS.has(text)) return WORDS.get(text);
  if (NUMBER.test(text)) return Number(text);
  if (ADDRESS.test(text)) return text;
  if (
    !PLAIN.test(text) ||
    (/^\d/.test(text) && ODD_NUMBER.test(text)) ||
    text.includes(': ') ||
    text.includes(' #') ||
    text.endsWith(':')
  )
    throw new OutsideSubset();
  return text;
}
