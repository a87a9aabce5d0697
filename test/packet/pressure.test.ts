/** Tables that are too small for what comes: established flows stay where they are, and counters tell. */
import test from 'ava';
import { tcp } from './frames.js';
import { World } from './harness.js';
import { end, V4, V6 } from './roster.js';

/** Entries of each flow table: the kernel hands them to its cores in portions of 128. */
const ENTRIES = 2048;

const destinationOf = (frame: Buffer, family: string): string =>
  frame.subarray(...(family === 'IPv4' ? [30, 34] : [38, 54])).toString('hex');

for (const r of [V4, V6]) {
  test.serial(
    `new flows beyond the table's size evict others, which the hash sends where they were (${r.family})`,
    (t) => {
      using world = new World('bpf/build/weir.bpf.o', { v4: ENTRIES, v6: ENTRIES });
      world.serve({ frontends: [r.vip], endpoints: [...r.remote], forwarding: 'dsr' });
      const syn = (client: number, port: number) =>
        tcp(end(client === 0 ? r.client : r.otherClient, port), end(r.vip, 80), 'SYN');
      const goesTo = (packet: ReturnType<typeof syn>): string =>
        destinationOf(world.runBlind('weir_xdp', packet), r.family);
      const established = Array.from({ length: 50 }, (_, i) => ({
        packet: syn(0, 10000 + i),
        to: goesTo(syn(0, 10000 + i)),
      }));
      for (let i = 0; i < 2 * ENTRIES; i++) world.runBlind('weir_xdp', syn(1, 2000 + i));
      const kept = world.seen.flows();
      t.true(kept.length <= ENTRIES);
      const lost = established.filter(({ packet }) => !kept.some(({ key }) => key.includes(`:${portOf(packet)} >`)));
      t.true(lost.length > 0, 'some flows were evicted');
      for (const { packet, to } of established) t.is(goesTo(packet.flags('ACK')), to);
      t.is(world.packets('forwarded-dsr'), 100 + 2 * ENTRIES, 'every packet was sent');
    },
  );

  test.serial(`the loads follow a table that evicts, from one sweep to the next (${r.family})`, async (t) => {
    using world = new World('bpf/build/weir.bpf.o', { v4: ENTRIES, v6: ENTRIES });
    world.serve({ frontends: [r.vip], endpoints: [...r.remote], forwarding: 'dsr', scheduler: 'lc' });
    for (let i = 0; i < 2 * ENTRIES; i++)
      world.runBlind('weir_xdp', tcp(end(r.client, 2000 + i), end(r.vip, 80), 'SYN'));
    const counted = (): number =>
      [...world.seen.tables.weir_loads.entries()].reduce((sum, [, { flows }]) => sum + flows, 0);
    t.is(counted(), 2 * ENTRIES, 'nobody has told of those that were evicted');
    const { kept, crowded } = await world.sweep();
    t.is(counted(), kept);
    t.true(crowded);
  });
}

const portOf = (packet: ReturnType<typeof tcp>): number =>
  packet.bytes().readUInt16BE(packet.bytes()[14]! >> 4 === 4 ? 34 : 54);
