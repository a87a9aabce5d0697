import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { healthCheckAnswer, healthCheckOf } from '../../src/core/health-check.js';
import type { ObjectReference } from '../../src/core/model.js';
import { HealthChecks } from '../../src/host/health-check.js';
import { endpoint, ip, service, slice } from '../helpers/model.js';
import { settled } from '../helpers/settled.js';

const WEB = service('web', { healthCheckNodePort: 31000 });
const here = (address: string, fields = {}) => endpoint(address, { nodeName: 'node-1', ...fields });

test('ready endpoints on this node count, each address once, whatever the number of slices', (t) => {
  const slices = [
    slice('web', [here('10.1.0.1'), here('10.1.0.2'), endpoint('10.1.0.3')]),
    slice('web', [here('10.1.0.2'), endpoint('10.1.0.4', { nodeName: '' })], { name: 'web-2' }),
  ];
  t.deepEqual(healthCheckOf(WEB, slices, 'node-1'), { port: 31000, endpoints: 2 });
  t.deepEqual(healthCheckOf(WEB, slices, 'node-3'), { port: 31000, endpoints: 0 });
});

test('an endpoint that ends does not count, although it serves', (t) => {
  const ending = here('10.1.0.1', { ready: false, serving: true, terminating: true });
  t.is(healthCheckOf(WEB, [slice('web', [ending])], 'node-1')?.endpoints, 0);
  t.is(healthCheckOf(WEB, [slice('web', [ending, here('10.1.0.2')])], 'node-1')?.endpoints, 1);
});

test('a pod with an address in each family is one endpoint', (t) => {
  const slices = [slice('web', [here('10.1.0.1')]), slice('web', [here('fd00::1')], { name: 'web-6' })];
  t.is(healthCheckOf(WEB, slices, 'node-1')?.endpoints, 1);
});

test('a service without healthCheckNodePort has no health check', (t) => {
  t.is(healthCheckOf(service('web'), [slice('web', [here('10.1.0.1')])], 'node-1'), undefined);
});

test('the answer is 200 only with an endpoint here and a healthy proxy', (t) => {
  const answers = [
    [1, true, 200],
    [0, true, 503],
    [1, false, 503],
    [0, false, 503],
  ] as const;
  for (const [endpoints, healthy, status] of answers) {
    const answer = healthCheckAnswer({ namespace: 'shop', name: 'web' }, endpoints, healthy);
    t.is(answer.status, status, answer.body);
    t.deepEqual(JSON.parse(answer.body), {
      service: { namespace: 'shop', name: 'web' },
      localEndpoints: endpoints,
      serviceProxyHealthy: healthy,
    });
  }
});

interface Probe {
  readonly status: number;
  readonly weight: string | null;
  readonly type: string | null;
  readonly sniff: string | null;
  readonly body: unknown;
}

/** What a load balancer gets, or undefined where nobody answers. */
async function probe(port: number, path = '/', host = '127.0.0.1'): Promise<Probe | undefined> {
  try {
    const response = await fetch(`http://${host}:${port}${path}`);
    const { headers, status } = response;
    return {
      status,
      weight: headers.get('x-load-balancing-endpoint-weight'),
      type: headers.get('content-type'),
      sniff: headers.get('x-content-type-options'),
      body: await response.json(),
    };
  } catch {
    return undefined;
  }
}

const about = (name: string): ObjectReference => ({ kind: 'Service', namespace: 'shop', name, uid: `uid-${name}` });
const says = (name: string, port: number, endpoints: number) => ({
  about: about(name),
  healthCheck: { port, endpoints },
});

function checks(t: ExecutionContext, healthy = () => true): { servers: HealthChecks; failures: string[] } {
  const failures: string[] = [];
  const servers = new HealthChecks(healthy, ({ name, uid }, reason) => failures.push(`${name} ${uid} ${reason}`));
  servers.move([ip('127.0.0.1')]);
  t.teardown(() => servers[Symbol.asyncDispose]());
  return { servers, failures };
}

/** A port that somebody else holds until told to leave. */
async function squat(): Promise<{ port: number; leave: () => Promise<unknown> }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { port, leave: () => new Promise((resolve) => server.close(resolve)) };
}

/** A port that is free now. */
async function freePort(): Promise<number> {
  const { port, leave } = await squat();
  await leave();
  return port;
}

test('a load balancer is told, at any path, how many endpoints are here', async (t) => {
  const { servers } = checks(t);
  const port = await freePort();
  servers.follow([says('web', port, 2)], []);
  await settled('server', async () => (await probe(port)) !== undefined);
  const expected = {
    status: 200,
    weight: '2',
    type: 'application/json',
    sniff: 'nosniff',
    body: { service: { namespace: 'shop', name: 'web' }, localEndpoints: 2, serviceProxyHealthy: true },
  };
  for (const path of ['/', '/healthz', '/any/path?at=all']) t.deepEqual(await probe(port, path), expected, path);
  servers.follow([says('web', port, 0)], []);
  t.like(await probe(port), { status: 503, weight: '0' });
});

test('an unhealthy proxy answers 503 and says so', async (t) => {
  let healthy = true;
  const { servers } = checks(t, () => healthy);
  const port = await freePort();
  servers.follow([says('web', port, 1)], []);
  await settled('server', async () => (await probe(port))?.status === 200);
  healthy = false;
  t.like(await probe(port), { status: 503, weight: '1', body: { serviceProxyHealthy: false } });
});

test('servers follow their services: a port that changes, two that are exchanged, a service that goes', async (t) => {
  const { servers, failures } = checks(t);
  const [first, second, third] = [await freePort(), await freePort(), await freePort()];
  const name = async (port: number): Promise<unknown> =>
    ((await probe(port))?.body as { service?: { name?: string } } | undefined)?.service?.name;
  servers.follow([says('web', first, 1), says('api', second, 1)], []);
  await settled('both', async () => (await name(first)) === 'web' && (await name(second)) === 'api');
  servers.follow([says('web', second, 1), says('api', first, 1)], []);
  await settled('exchange', async () => (await name(first)) === 'api' && (await name(second)) === 'web');
  servers.follow([says('web', third, 1)], []);
  await settled('move', async () => (await name(third)) === 'web');
  t.is(await name(second), undefined);
  servers.follow([{ about: about('web'), healthCheck: undefined }], ['shop/api']);
  t.is(await name(third), undefined);
  t.is(await name(first), undefined);
  t.deepEqual(failures, []);
});

test('a port that is taken is named once with its service, and served as soon as it is free', async (t) => {
  const { servers, failures } = checks(t);
  const { port, leave } = await squat();
  servers.follow([says('web', port, 1)], []);
  await settled('failure', () => failures.length > 0);
  t.regex(failures[0] ?? '', /^web uid-web .*EADDRINUSE.*tried again/);
  await leave();
  await settled('server', async () => (await probe(port))?.status === 200);
  t.is(failures.length, 1);
});

test('a service that is gone before its port was free is not served later', async (t) => {
  const { servers, failures } = checks(t);
  const [web, api] = [await squat(), await squat()];
  servers.follow([says('web', web.port, 1)], []);
  await settled('failure', () => failures.length === 1);
  servers.follow([says('api', api.port, 1)], ['shop/web']);
  await settled('another failure', () => failures.length === 2);
  await Promise.all([web.leave(), api.leave()]);
  /* api began to wait later, so web would have been served by then */
  await settled('api', async () => (await probe(api.port)) !== undefined);
  t.is(await probe(web.port), undefined);
});

test('servers listen where they are told to, and move', async (t) => {
  const { servers } = checks(t);
  const port = await freePort();
  servers.follow([says('web', port, 1)], []);
  await settled('server', async () => (await probe(port)) !== undefined);
  t.is(await probe(port, '/', '127.0.0.2'), undefined);
  servers.move([ip('127.0.0.2')]);
  await settled('move', async () => (await probe(port, '/', '127.0.0.2')) !== undefined);
  t.is(await probe(port), undefined);
  servers.move('all');
  await settled('everywhere', async () => (await probe(port)) !== undefined);
  t.truthy(await probe(port, '/', '127.0.0.2'));
});
