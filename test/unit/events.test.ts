import test, { type ExecutionContext } from 'ava';
import type { Problem } from '../../src/core/model.js';
import { ApiError, type Message } from '../../src/watch/api-client.js';
import { EventWriter, type EventPace } from '../../src/watch/event-writer.js';
import { problemsOf } from '../deploy/schema.js';
import { settled } from '../helpers/settled.js';

interface Sent extends Message {
  readonly path: string;
  readonly body: Record<string, unknown>;
}

interface Desk {
  readonly sent: Sent[];
  readonly refusals: string[];
  readonly writer: EventWriter;
  /** What the API server answers to the next messages; then it accepts. */
  readonly answers: (number | undefined | 'away')[];
}

/** A writer, and an API server that is a list. */
function desk(t: ExecutionContext, pace?: EventPace, nodeName = 'node-1'): Desk {
  const sent: Sent[] = [];
  const refusals: string[] = [];
  const answers: Desk['answers'] = [];
  const stopping = new AbortController();
  t.teardown(() => stopping.abort());
  const client = {
    send: (path: string, message: Message): Promise<void> => {
      sent.push({ ...message, path, body: message.body as Record<string, unknown> });
      const answer = answers.shift();
      if (answer === 'away') return Promise.reject(new ApiError('connect ECONNREFUSED'));
      return answer ? Promise.reject(new ApiError(`${answer}: no`, answer)) : Promise.resolve();
    },
  };
  const refused = (message: string): void => void refusals.push(message);
  const writer = new EventWriter({ client, nodeName, signal: stopping.signal, refused, ...(pace ? { pace } : {}) });
  return { sent, refusals, answers, writer };
}

const PROBLEM: Problem = {
  object: 'Service shop/web',
  field: 'metadata.annotations[weir.io/scheduler]',
  message: "unknown value 'fastest'",
  event: { about: { kind: 'Service', namespace: 'shop', name: 'web', uid: 'uid-web' }, reason: 'InvalidSetting' },
};
const about = (name: string, message = PROBLEM.message): Problem => ({
  ...PROBLEM,
  message,
  event: { about: { kind: 'Service', namespace: 'shop', name, uid: `uid-${name}` }, reason: 'InvalidSetting' },
});
const nameOf = (sent: Sent | undefined): string =>
  (sent?.body['metadata'] as { name?: string } | undefined)?.name ?? '';

test('an Event has what the API asks of one', async (t) => {
  const { sent, writer } = desk(t);
  writer.write(PROBLEM);
  await settled('event', () => sent.length === 1);
  const [event] = sent;
  t.like(event, {
    method: 'POST',
    type: 'application/json',
    path: '/apis/events.k8s.io/v1/namespaces/shop/events',
    body: {
      type: 'Warning',
      reason: 'InvalidSetting',
      note: "metadata.annotations[weir.io/scheduler]: unknown value 'fastest'",
      reportingController: 'weir.io/agent',
      reportingInstance: 'node-1',
      regarding: { kind: 'Service', apiVersion: 'v1', namespace: 'shop', name: 'web', uid: 'uid-web' },
    },
  });
  t.deepEqual(problemsOf('EventsV1Event', event?.body, 'Event'), []);
  t.regex(nameOf(event), /^web\.[0-9a-f]{16}$/);
  t.regex(String(event?.body['eventTime']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
});

test('an Event about a node is in namespace default, and long names and notes are cut to what the API takes', async (t) => {
  const { sent, writer } = desk(t);
  const name = `${'n'.repeat(219)}.${'n'.repeat(30)}`;
  const message = 'ö'.repeat(2000);
  writer.write({
    object: '',
    field: '',
    message,
    event: { about: { kind: 'Node', namespace: '', name, uid: '' }, reason: 'InvalidObject' },
  });
  await settled('event', () => sent.length === 1);
  t.is(sent[0]?.path, '/apis/events.k8s.io/v1/namespaces/default/events');
  t.false('namespace' in (sent[0]?.body['regarding'] as object));
  t.true(Buffer.byteLength(String(sent[0]?.body['note'])) <= 1024);
  t.regex(nameOf(sent[0]), /^n{219}\.[0-9a-f]{16}$/);
});

test('a problem that is none of an object is not written', async (t) => {
  const { sent, writer } = desk(t);
  writer.write({ object: 'web.yaml', field: '', message: 'not YAML' });
  writer.write(about('last'));
  await settled('event', () => sent.length === 1);
  t.regex(nameOf(sent[0]), /^last\./);
});

test('nodes that see the same problem write one Event, and none of them counts it as repeated', async (t) => {
  const [one, two] = [desk(t), desk(t, undefined, 'node-2')];
  one.writer.write(PROBLEM);
  two.answers.push(409);
  two.writer.write(PROBLEM);
  two.writer.write(about('next'));
  await settled('events', () => one.sent.length === 1 && two.sent.length === 2);
  t.is(nameOf(one.sent[0]), nameOf(two.sent[0]));
  t.deepEqual(
    two.sent.map(({ method }) => method),
    ['POST', 'POST'],
  );
});

test('a problem that returns while its Event is still there is counted in it', async (t) => {
  const { sent, writer, answers } = desk(t);
  writer.write(PROBLEM);
  await settled('event', () => sent.length === 1);
  answers.push(409);
  writer.write(PROBLEM);
  await settled('repetition', () => sent.length === 3);
  t.like(sent[2], {
    method: 'PATCH',
    type: 'application/merge-patch+json',
    path: `/apis/events.k8s.io/v1/namespaces/shop/events/${nameOf(sent[0])}`,
    body: { series: { count: 2 } },
  });
});

test('what the API server will not have is dropped: nothing is sent twice, what follows is sent', async (t) => {
  const { sent, writer, answers, refusals } = desk(t);
  answers.push('away', 500, 429, 403, 403);
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) writer.write(about(name));
  await settled('events', () => sent.length === 6);
  t.deepEqual(
    sent.map((event) => nameOf(event).charAt(0)),
    ['a', 'b', 'c', 'd', 'e', 'f'],
  );
  t.deepEqual(refusals, ['403: no'], 'a lack of permission is told once');
});

test('Events are written one after the other, no more than the pace allows, and the rest waits in bounds', async (t) => {
  const { sent, writer } = desk(t, { burst: 3, refillMs: 3_600_000 });
  for (let i = 0; i < 500; i++) writer.write(about(`s${i}`));
  await settled('burst', () => sent.length === 3);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.is(sent.length, 3);
});

test('after a burst Events go on at their pace', async (t) => {
  const { sent, writer } = desk(t, { burst: 1, refillMs: 20 });
  for (let i = 0; i < 5; i++) writer.write(about(`s${i}`));
  await settled('all', () => sent.length === 5);
  t.is(sent.length, 5);
});
