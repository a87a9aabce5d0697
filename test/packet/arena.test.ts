import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createMap, pin } from '../../src/loader/kernel-map.js';
import { closeFd } from '../../src/loader/libbpf.js';
import { BpfObject } from '../../src/loader/object.js';
import { ensureRoot, listPins } from '../../src/loader/pins.js';
import { SlotArena } from '../../src/maps/arena.js';
import { MAPS, SEGMENT, WEIR_CHUNKS_PER_SEGMENT } from '../../src/maps/layout.js';
import { openTable } from '../../src/maps/table.js';
import { bpfDescriptors, bpffs, probeObject } from './loader-world.js';

/** A root with an empty weir_slots. */
function givenSlots(t: ExecutionContext): string {
  const root = bpffs(t);
  ensureRoot(root);
  const object = new BpfObject(probeObject(t));
  for (const name of ['weir_flows4', 'weir_flows6']) object.maps().get(name)?.setMaxEntries(1024);
  object.maps().get('weir_slots')?.setPinPath(join(root, 'weir_slots'));
  object.load();
  object[Symbol.dispose]();
  return root;
}

function ids(count: number, first = 1): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => first + i);
}

test('what is written to the arena is what the programs map holds, also for the next agent', (t) => {
  const root = givenSlots(t);
  const arena = new SlotArena(root);
  const chunk = arena.allocate(1009, 0);
  arena.write(chunk, ids(1009));
  arena[Symbol.dispose]();

  const next = new SlotArena(root);
  t.teardown(() => next[Symbol.dispose]());
  t.true(next.reserve(chunk, 1009));
  t.deepEqual(next.read(chunk, 1009), ids(1009));
  t.notThrows(() => openTable(root, MAPS.weir_slots)[Symbol.dispose]());
  t.is(next.allocate(1, 0), chunk + 16);
});

test('segments are made when they are needed, pinned and published to the programs', (t) => {
  const root = givenSlots(t);
  const arena = new SlotArena(root);
  t.teardown(() => arena[Symbol.dispose]());
  t.deepEqual(listPins(root), ['weir_slots']);
  const words = (WEIR_CHUNKS_PER_SEGMENT - 1) * 64;
  const [first, second] = [arena.allocate(words, 0), arena.allocate(words, 0)];
  t.deepEqual([first, second], [1, WEIR_CHUNKS_PER_SEGMENT]);
  arena.write(second, ids(words, 5));
  t.deepEqual(arena.read(second, words).at(-1), words + 4);
  t.deepEqual(listPins(root), ['weir_slots', 'weir_slots_0', 'weir_slots_1']);
  const slots = openTable(root, MAPS.weir_slots);
  t.is([0, 1].filter((segment) => (slots.get(segment) ?? 0) > 0).length, 2);
  t.is(slots.get(2), undefined);
  slots[Symbol.dispose]();
});

test('a table larger than a segment is refused, and so is writing outside the arena', (t) => {
  const arena = new SlotArena(givenSlots(t));
  t.teardown(() => arena[Symbol.dispose]());
  t.like(
    t.throws(() => arena.allocate(WEIR_CHUNKS_PER_SEGMENT * 64, 0)),
    { code: 'WEIR_FULL' },
  );
  arena.allocate(1, 0);
  for (const chunk of [0, WEIR_CHUNKS_PER_SEGMENT]) {
    t.throws(() => arena.write(chunk, ids(1)), { instanceOf: RangeError });
  }
  t.throws(() => arena.write(WEIR_CHUNKS_PER_SEGMENT - 1, ids(65)), { instanceOf: RangeError });
});

test('a segment of another version is refused by name, without leaking a descriptor', (t) => {
  const root = givenSlots(t);
  const fd = createMap('weir_slots_0', { ...SEGMENT, maxEntries: 8 });
  pin(fd, join(root, 'weir_slots_0'));
  closeFd(fd);
  const before = bpfDescriptors();
  const error = t.throws(() => new SlotArena(root));
  t.like(error, { code: 'WEIR_LAYOUT' });
  t.regex(error.message, /weir_slots_0: it has 8 x 256 bytes where this program has 16384 x 256/);
  t.is(bpfDescriptors(), before);
});
