import { existsSync, readFileSync } from 'node:fs';
import test from 'ava';
import { generateLayout } from '../../scripts/layout.js';
import { commonPrefix, parseHeader } from '../../scripts/header.js';
import { MAPS, REASON, REASON_TEXT } from '../../src/maps/layout.js';

const OBJECT = 'bpf/build/weir.bpf.o';

test('the committed layout is what the BPF object and abi.h say', async (t) => {
  t.true(existsSync(OBJECT), `${OBJECT} is missing: run make build first`);
  const header = parseHeader(readFileSync('bpf/abi.h', 'utf8'));
  const generated = await generateLayout(readFileSync(OBJECT), header);
  t.is(generated, readFileSync('src/maps/layout.ts', 'utf8'), 'run make layout');
});

test('every reason has a name and a sentence for the operator', (t) => {
  for (const [name, number] of Object.entries(REASON)) {
    if (name === 'COUNT') continue;
    t.is(REASON_TEXT[number]?.name, name.toLowerCase().replaceAll('_', '-'));
    t.regex(REASON_TEXT[number]?.text ?? '', /\w+ \w+/);
  }
});

test('the name of every map fits the 15 bytes that the kernel keeps', (t) => {
  for (const { name } of Object.values(MAPS)) t.true(name.length <= 15, name);
});

test('codecs have the sizes of the maps that they serve', (t) => {
  for (const map of Object.values(MAPS)) {
    t.is(map.key.size, map.keySize, map.name);
    t.is(map.value.size, map.valueSize, map.name);
  }
});

test('enums are read from the header with values, implied values and the comment on the same line', (t) => {
  const text = `
#define WEIR_A 0x10
#define WEIR_B 5 /* five */
#define OTHER 1
/* before */
enum thing {
	THING_A = 3, /* a thing
	              * of two lines */
	THING_B,
	/* about what follows */
	THING_C = 0x20,
};`;
  const header = parseHeader(text);
  t.deepEqual(
    [...header.defines],
    [
      ['WEIR_A', 16],
      ['WEIR_B', 5],
    ],
  );
  t.deepEqual(header.enums, [
    {
      name: 'thing',
      values: [
        { name: 'THING_A', value: 3, text: 'a thing of two lines' },
        { name: 'THING_B', value: 4, text: '' },
        { name: 'THING_C', value: 32, text: '' },
      ],
    },
  ]);
});

test('constants lose the words that all of an enum share, and never the last word', (t) => {
  t.is(commonPrefix(['FLOW_NEW', 'FLOW_OLD']), 'FLOW_');
  t.is(commonPrefix(['FLOW_A_X', 'FLOW_A_Y']), 'FLOW_A_');
  t.is(commonPrefix(['FLOW_A', 'FLOW_A_Y']), 'FLOW_');
  t.is(commonPrefix(['ONE', 'TWO']), '');
});
