/** Reads what BTF does not carry from bpf/abi.h: enums with their comments, and #define constants. The header is our own. */

export interface Enumerator {
  readonly name: string;
  readonly value: number;
  /** The comment beside it, on one line; '' without one. */
  readonly text: string;
}

export interface HeaderEnum {
  readonly name: string;
  readonly values: readonly Enumerator[];
}

export interface Header {
  readonly enums: readonly HeaderEnum[];
  readonly defines: ReadonlyMap<string, number>;
}

const ENUM = /\benum\s+(\w+)\s*\{([^}]*)\}/g;
const ENUMERATOR = /^\s*(\w+)(?:\s*=\s*(-?\w+))?[ \t]*,?[ \t]*(?:\/\*([\s\S]*?)\*\/)?/;
const DEFINE = /^#define\s+(WEIR_\w+)\s+(0x[0-9a-fA-F]+|\d+)\s*(?:\/\*.*)?$/gm;

export function parseHeader(text: string): Header {
  const enums = [...text.matchAll(ENUM)].map(([, name = '', body = '']) => ({ name, values: enumerators(body) }));
  const defines = new Map(
    [...text.matchAll(DEFINE)].map(([, name = '', value]): [string, number] => [name, Number(value)]),
  );
  return { enums, defines };
}

function enumerators(body: string): Enumerator[] {
  const values: Enumerator[] = [];
  let rest = body;
  let previous = -1;
  for (;;) {
    rest = rest.replace(/^\s*\/\*[\s\S]*?\*\//, '');
    const match = ENUMERATOR.exec(rest);
    if (!match) return values;
    const [whole, name = '', number, comment = ''] = match;
    previous = number === undefined ? previous + 1 : Number(number);
    if (Number.isNaN(previous)) throw new Error(`enumerator ${name} has a value that is no number`);
    values.push({ name, value: previous, text: comment.replace(/\s*\n\s*\*?\s*/g, ' ').trim() });
    rest = rest.slice(whole.length);
  }
}

/** What all names begin with, up to an underscore: `REASON_` of REASON_TTL and REASON_INTERNAL. */
export function commonPrefix(names: readonly string[]): string {
  const [first = '', ...others] = names;
  const words = first.split('_').slice(0, -1);
  while (words.length > 0 && !others.every((name) => name.startsWith(`${words.join('_')}_`))) words.pop();
  return words.length > 0 ? `${words.join('_')}_` : '';
}
