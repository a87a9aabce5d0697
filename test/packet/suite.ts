/** The frame of a file of packet tests: one world, emptied before each test; each promise holds in both families. */
import test, { type ExecutionContext } from 'ava';
import { World } from './harness.js';
import { type Roster, ROSTERS } from './roster.js';

export type Body = (t: ExecutionContext, world: World, roster: Roster) => void | Promise<void>;

export interface Declare {
  /** A test for IPv4 and one for IPv6. */
  (title: string, body: Body): void;
  /** A test of what only one family, if any is named, has. */
  in(family: Roster['family'] | undefined, title: string, body: Body): void;
}

export function packetTests(): Declare {
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
  const declare = (family: Roster['family'] | undefined, title: string, body: Body): void => {
    for (const roster of ROSTERS.filter((one) => one.family === (family ?? one.family))) {
      test.serial(`${title} (${roster.family})`, (t) => body(t, here(), roster));
    }
  };
  return Object.assign((title: string, body: Body) => declare(undefined, title, body), { in: declare });
}
