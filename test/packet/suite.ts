/** The frame of a file of packet tests: one world, emptied before each test; each promise holds in both families. */
import test, { type ExecutionContext } from 'ava';
import { World } from './harness.js';
import { type Roster, ROSTERS } from './roster.js';

export type Body = (t: ExecutionContext, world: World, roster: Roster) => void | Promise<void>;

/** Returns a function that declares a test for IPv4 and one for IPv6. */
export function packetTests(): (title: string, body: Body) => void {
  let world: World | undefined;
  const here = (): World => {
    if (!world) throw new TypeError('no world yet');
    return world;
  };
  test.before(() => {
    world = new World();
  });
  test.beforeEach(() => here().reset());
  test.after.always(() => world?.[Symbol.dispose]());
  return (title, body) => {
    for (const roster of ROSTERS) test.serial(`${title} (${roster.family})`, (t) => body(t, here(), roster));
  };
}
