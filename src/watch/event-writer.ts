/**
 * Problems of objects as Events of the cluster (events.k8s.io/v1), for whoever looks at the object with kubectl. They are a
 * courtesy: written one after the other at a slow pace, and dropped where the API server will not have them.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EventReason, Problem } from '../core/model.js';
import { apiVersionOf } from '../core/objects.js';
import { ApiError, type ApiClient } from './api-client.js';

/** How many Events may be written at once, and ms until another one may follow. */
export interface EventPace {
  readonly burst: number;
  readonly refillMs: number;
}

export interface EventWriterOptions {
  readonly client: Pick<ApiClient, 'send'>;
  readonly nodeName: string;
  readonly signal: AbortSignal;
  /** Told once where the service account may not write Events. */
  readonly refused: (message: string) => void;
  readonly pace?: EventPace;
}

const PACE: EventPace = { burst: 25, refillMs: 10_000 };
/** Problems that wait to be written; what comes on top is in the log alone. */
const QUEUE = 100;
/** Names of Events whose repetitions are counted. */
const COUNTED = 1000;
/** Bytes that the API takes as a note, less room for a letter that was cut. */
const NOTE_BYTES = 1020;
const NAME_CHARACTERS = 220;

/** What failed, as the API wants it beside the reason. */
const ACTION: Readonly<Record<EventReason, string>> = {
  InvalidObject: 'ReadObject',
  InvalidSetting: 'ReadObject',
  AddressConflict: 'ServeAddress',
  ServiceDoesNotFit: 'ServeAddress',
  FailedToStartServiceHealthcheck: 'StartServiceHealthcheck',
};

interface Written {
  readonly path: string;
  readonly name: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly time: string;
}

export class EventWriter {
  readonly #options: EventWriterOptions;
  readonly #pace: EventPace;
  readonly #queue: Written[] = [];
  /** How often each Event was written, by name. */
  readonly #counts = new Map<string, number>();
  #tokens: number;
  #counted = performance.now();
  #writing = false;
  #refused = false;

  constructor(options: EventWriterOptions) {
    this.#options = options;
    this.#pace = options.pace ?? PACE;
    this.#tokens = this.#pace.burst;
  }

  /** Has an Event written some time soon, where the problem is one of an object. */
  write(problem: Problem): void {
    const event = eventOf(problem, this.#options.nodeName, new Date());
    if (!event || this.#queue.length >= QUEUE) return;
    this.#queue.push(event);
    if (!this.#writing) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#writing = true;
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      await this.#turn();
      if (this.#options.signal.aborted) break;
      await this.#send(next);
    }
    this.#writing = false;
  }

  /** Waits for as long as the pace demands. */
  async #turn(): Promise<void> {
    const { burst, refillMs } = this.#pace;
    const now = performance.now();
    this.#tokens = Math.min(burst, this.#tokens + (now - this.#counted) / refillMs) - 1;
    this.#counted = now;
    if (this.#tokens >= 0) return;
    await sleep(-this.#tokens * refillMs, undefined, { signal: this.#options.signal }).catch(() => undefined);
  }

  async #send({ path, name, body, time }: Written): Promise<void> {
    const { client, signal, refused } = this.#options;
    const count = (this.#counts.get(name) ?? 0) + 1;
    if (this.#counts.size >= COUNTED) this.#counts.clear();
    this.#counts.set(name, count);
    try {
      await client.send(path, { method: 'POST', type: 'application/json', body }, signal);
    } catch (error) {
      const status = error instanceof ApiError ? error.status : undefined;
      /* it is there already: from another node, which says the same, or from before, when it has returned */
      if (status === 409 && count > 1) await this.#repeat(`${path}/${name}`, count, time);
      if (status !== 403 || this.#refused || !(error instanceof ApiError)) return;
      this.#refused = true;
      refused(error.message);
    }
  }

  async #repeat(path: string, count: number, lastObservedTime: string): Promise<void> {
    const { client, signal } = this.#options;
    const body = { series: { count, lastObservedTime } };
    await client
      .send(path, { method: 'PATCH', type: 'application/merge-patch+json', body }, signal)
      .catch(() => undefined);
  }
}

/** The name depends on what is said alone, so that many nodes which see the same problem write one Event. */
function eventOf(problem: Problem, nodeName: string, now: Date): Written | undefined {
  if (!problem.event) return undefined;
  const { about, reason } = problem.event;
  const text = [problem.field, problem.message].filter((part) => part !== '').join(': ');
  const note = Buffer.from(text).subarray(0, NOTE_BYTES).toString();
  const digest = createHash('sha256').update(`${about.kind}\n${about.uid}\n${reason}\n${note}`).digest('hex');
  const name = `${about.name.slice(0, NAME_CHARACTERS).replace(/[-.]+$/, '')}.${digest.slice(0, 16)}`;
  const namespace = about.namespace || 'default';
  const time = now.toISOString().replace('Z', '000Z'); // with microseconds
  const { kind, uid } = about;
  const regarding = { kind, apiVersion: apiVersionOf(kind), name: about.name, uid };
  const body = {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name, namespace },
    eventTime: time,
    type: 'Warning',
    reason,
    action: ACTION[reason],
    regarding: about.namespace ? { ...regarding, namespace } : regarding,
    note,
    reportingController: 'weir.io/agent',
    reportingInstance: nodeName.slice(0, 128),
  };
  return { path: `/apis/events.k8s.io/v1/namespaces/${namespace}/events`, name, body, time };
}
