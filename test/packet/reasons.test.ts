/** Every reason that a packet can end with, or be counted under, has a packet test. */
import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import { REASON, REASON_TEXT } from '../../src/maps/layout.js';

const sources = (folder: string, pattern: RegExp): string =>
  readdirSync(folder)
    .filter((name) => pattern.test(name))
    .map((name) => readFileSync(`${folder}/${name}`, 'utf8'))
    .join('\n');

const tests = sources('test/packet', /^(?!reasons).*\.test\.ts$/);
const programs = sources('bpf', /^(?!abi).*\.[hc]$/);

for (const [constant, number] of Object.entries(REASON)) {
  if (constant === 'COUNT') continue;
  const name = REASON_TEXT[number]?.name ?? '';
  test(`the reason "${name}" has a packet`, (t) => {
    t.not(name, '');
    const named = new RegExp(`\\bREASON_${constant}\\b`).test(programs);
    t.true(named, 'named by the programs');
    const asserted = new RegExp(`drops: \\[[^\\]]*'${name}'|reason: '${name}'|'?${name}'?: 1\\b`).test(tests);
    t.true(asserted, 'asserted by a test');
  });
}
