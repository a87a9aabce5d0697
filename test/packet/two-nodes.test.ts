import test from 'ava';
import { tcp } from './frames.js';
import { World } from './harness.js';
import { end, ROSTERS } from './roster.js';

/** Two nodes, one after the other, with everything numbered differently. */
test.serial('two nodes send the same client to the same backend', (t) => {
  const choicesOf = (world: World): string[] =>
    ROSTERS.flatMap((r) =>
      Array.from({ length: 60 }, (_, i) => {
        const { flows } = world.run('weir_up_in', tcp(end(r.client, 40000 + i), end(r.vip, 80), 'SYN'));
        return flows.find(({ kind }) => kind === 'FORWARD')?.address ?? '';
      }),
    );
  const web = { frontends: ROSTERS.map(({ vip }) => vip), endpoints: ROSTERS.flatMap(({ remote }) => [...remote]) };
  const other = {
    name: 'aside',
    frontends: ROSTERS.map(({ otherVip }) => otherVip),
    endpoints: ROSTERS.flatMap(({ remote }) => [...remote]),
  };
  const first = new World();
  first.serve(web, other);
  const choices = choicesOf(first);
  first[Symbol.dispose]();
  const second = new World();
  t.teardown(() => second[Symbol.dispose]());
  second.serve(other);
  second.serve({ ...web, endpoints: [...web.endpoints].reverse() });
  t.deepEqual(choicesOf(second), choices);
  t.true(new Set(choices).size === 6);
});
