/** One node, one dataplane that has what is new: an agent of the other kind is asked to stop before this one begins. */
import { WeirError } from '../errors.js';
import { isLocked, lockHolder } from '../loader/pins.js';
import type { Log } from '../agent/log.js';
import { pause } from './context.js';
import { agentArguments } from './running-agent.js';

/** ms that it has. On a node with time to spare it answers within 5 s; whatever it takes, its dataplane goes on meanwhile. */
const PATIENCE = 60_000;
const POLL = 50;

/**
 * Asks the agent that holds `place` to stop, and waits until it has; what it has put into the kernel goes on. Throws
 * WEIR_ALREADY_RUNNING where its process cannot be seen from here or does not end.
 */
export async function succeed(place: string, log: Log, signal: AbortSignal): Promise<void> {
  let asked: number | undefined;
  const end = Date.now() + PATIENCE;
  while (isLocked(place) && !signal.aborted) {
    const pid = lockHolder(place);
    if (Date.now() > end) throw stays(place, pid);
    /* a command that reads or cleans up holds the lock for a moment, too */
    if (pid !== undefined && pid !== asked && agentArguments(pid) !== undefined) {
      log('info', `takeover: asked the agent with pid ${pid} to stop: it uses the other dataplane`);
      process.kill(pid, 'SIGTERM');
      asked = pid;
    }
    await pause(POLL, signal);
  }
}

function stays(place: string, pid: number | undefined): WeirError {
  const who = pid === undefined ? 'an agent that cannot be seen from here' : `the agent with pid ${pid}`;
  return new WeirError('WEIR_ALREADY_RUNNING', `take over from the other dataplane: ${who} uses ${place} and goes on`);
}
