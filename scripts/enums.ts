/** The enums of bpf/abi.h as TypeScript constants. */
import type { Btf } from '../src/maps/btf.js';
import { commonPrefix, type Header, type HeaderEnum } from './header.js';

/** Compares the enums that reached BTF with the text of the header: a mismatch means that the object is stale. */
export function checkEnums(btf: Btf, header: Header): void {
  for (const { name, values } of header.enums) {
    const compiled = btf.types.find((type) => type.kind === 'enum' && type.name === name);
    if (compiled?.kind !== 'enum') continue;
    for (const { name: member, value } of values) {
      const actual = compiled.values.get(member);
      if (actual !== value)
        throw new Error(`${member} is ${value} in abi.h and ${actual} in the object: build it anew`);
    }
  }
}

/** `export const REASON = { MALFORMED: 1, ... }`, and for enum reason the table of sentences. */
export function enumSource(declared: HeaderEnum): string {
  const prefix = commonPrefix(declared.values.map((value) => value.name));
  const members = declared.values.map((value) => ({ ...value, name: value.name.slice(prefix.length) }));
  const name = declared.name.toUpperCase();
  const lines = members.map(({ name: member, value, text }) => `${text ? `/** ${text} */\n` : ''}${member}: ${value},`);
  const constants = `/** enum ${declared.name} */\nexport const ${name} = {\n${lines.join('\n')}\n} as const;\n`;
  if (declared.name !== 'reason') return constants;
  const entries = members
    .filter(({ text }) => text !== '')
    .map(({ name: member, value, text }) => {
      return `${value}: { name: '${member.toLowerCase().replaceAll('_', '-')}', text: ${JSON.stringify(text)} },`;
    });
  return `${constants}
/** What an operator reads for each reason; numbers below 64 are drops, the others accepts. */
export const REASON_TEXT: Readonly<Record<number, { readonly name: string; readonly text: string }>> = {
${entries.join('\n')}
};
`;
}
