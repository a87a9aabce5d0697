/**
 * A process that lives in a network namespace and does there what a story asks: serves, requests, transfers. Told over the IPC
 * channel; answers with the same id. Started by world.ts through `ip netns exec`.
 */
import { createHash } from 'node:crypto';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, connect, type Server, type Socket } from 'node:net';
import { converse, type TalkCommand } from './talk.js';

export interface Reply {
  /** Name of who answered. */
  readonly who: string;
  /** Address that the server saw as its client. */
  readonly client: string;
  /** With TCP, whom the client takes its server for, as `ADDRESS PORT`. */
  readonly peer?: string;
}

/** An answer by HTTP. */
export interface Page {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface LoadResult {
  readonly ok: number;
  readonly failed: number;
  readonly errors: readonly string[];
  readonly who: Readonly<Record<string, number>>;
}

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly timeout?: number | undefined;
  /** Length of a datagram, and of its answer at least. */
  readonly bytes?: number | undefined;
}

/** One question of many that are asked at once. */
export interface Probe {
  readonly host: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
}

/** `open`: answered; `refused`: told so at once; `silent`: nothing came back in time; else what went wrong. */
export type Finding = string;

export type Command =
  | {
      readonly do: 'serve';
      readonly name: string;
      readonly port: number;
      readonly protocol: 'tcp' | 'udp';
      readonly address: string;
    }
  | { readonly do: 'stop'; readonly port: number }
  | { readonly do: 'get'; readonly target: Target }
  | { readonly do: 'ask'; readonly target: Target }
  | { readonly do: 'fetch'; readonly url: string }
  | TalkCommand
  | { readonly do: 'probe'; readonly probes: readonly Probe[]; readonly timeout: number }
  | { readonly do: 'download'; readonly target: Target; readonly bytes: number }
  | { readonly do: 'upload'; readonly target: Target; readonly bytes: number }
  | { readonly do: 'load'; readonly target: Target; readonly concurrency: number }
  | { readonly do: 'endLoad' }
  | { readonly do: 'hold'; readonly target: Target }
  | { readonly do: 'speak'; readonly id: number }
  | { readonly do: 'release'; readonly id: number };

type Service = Extract<Command, { do: 'serve' }>;

const SLOWNESS = Number(process.env['WEIR_TIME_FACTOR'] ?? 1);
const TIMEOUT = 3000 * SLOWNESS;
const servers = new Map<string, Server | UdpSocket>();
const held = new Map<number, Socket>();
let nextHeld = 1;
let load: { stop: boolean; finished: Promise<LoadResult> } | undefined;

process.on('message', (message: { id: number; command: Command }) => {
  carryOut(message.command).then(
    (result) => process.send?.({ id: message.id, result }),
    (error: unknown) =>
      process.send?.({ id: message.id, error: error instanceof Error ? error.message : String(error) }),
  );
});
process.on('disconnect', () => {
  if (!process.env['WEIR_INHABITANT_STAYS']) process.exit(0);
});

function carryOut(command: Command): Promise<unknown> {
  return command.do === 'talk' || command.do === 'say' ? converse(command) : obey(command);
}

async function obey(command: Exclude<Command, TalkCommand>): Promise<unknown> {
  switch (command.do) {
    case 'serve':
      return command.protocol === 'tcp' ? serveTcp(command) : serveUdp(command);
    case 'stop':
      stop(command.port);
      return undefined;
    case 'get':
    case 'ask':
      return ASK[command.do](command.target);
    case 'fetch':
      return fetchPage(command.url);
    case 'probe':
      return findAll(command.probes, command.timeout);
    case 'download':
      return transfer(command.target, `download ${command.bytes}\n`, 0);
    case 'upload':
      return transfer(command.target, `upload ${command.bytes}\n`, command.bytes);
    case 'load':
      load = startLoad(command.target, command.concurrency);
      return undefined;
    case 'endLoad':
      if (load) load.stop = true;
      return load?.finished;
    case 'hold':
      return hold(command.target);
    case 'speak':
      return speak(command.id);
    case 'release':
      held.get(command.id)?.destroy();
      held.delete(command.id);
      return undefined;
  }
}

function stop(port: number): void {
  for (const name of [`${port}/tcp`, `${port}/udp`]) {
    servers.get(name)?.close();
    servers.delete(name);
  }
}

/** Line protocol: `hello`, `again`, `download N`, `upload N` (N bytes follow; answered by their digest). */
function serveTcp({ name, port, address }: Service): Promise<void> {
  const server = createServer((socket) => {
    const answer = (): string => JSON.stringify({ who: name, client: plain(socket.remoteAddress) }) + '\n';
    let line = '';
    let expected = -1;
    const hash = createHash('md5');
    socket.on('error', () => undefined);
    socket.on('data', (data) => {
      if (expected >= 0) {
        swallow(data);
        return;
      }
      line += data.toString('latin1');
      const end = line.indexOf('\n');
      if (end < 0) return;
      const [verb = '', count = '0'] = line.slice(0, end).split(' ');
      const rest = Buffer.from(line.slice(end + 1), 'latin1');
      line = '';
      if (verb === 'download') socket.end(pattern(Number(count)));
      else if (verb === 'upload') {
        expected = Number(count);
        swallow(rest);
      } else if (verb === 'again') socket.write(answer());
      else socket.end(answer());
    });
    const swallow = (data: Buffer): void => {
      hash.update(data);
      expected -= data.length;
      if (expected <= 0) socket.end(hash.digest('hex'));
    };
  });
  servers.set(`${port}/tcp`, server);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address, port, ipv6Only: false }, resolve);
  });
}

function serveUdp({ name, port, address }: Service): Promise<void> {
  const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', ipv6Only: false });
  socket.on('message', (data, from) => {
    const answer = JSON.stringify({ who: name, client: plain(from.address) }).padEnd(data.length);
    socket.send(answer, from.port, from.address);
  });
  servers.set(`${port}/udp`, socket);
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, address, resolve);
  });
}

function plain(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:/, '');
}

/** Bytes that a digest can tell apart wherever one is missing. */
function pattern(bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  for (let i = 0; i + 4 <= bytes; i += 4) buffer.writeUInt32LE((i * 2654435761) >>> 0, i);
  return buffer;
}

function open(target: Target): Socket {
  const { host, port, localAddress, localPort, timeout = TIMEOUT } = target;
  const socket = connect({
    host,
    port,
    ...(localAddress ? { localAddress } : {}),
    ...(localPort ? { localPort } : {}),
  });
  socket.setTimeout(timeout, () => socket.destroy(new Error(`timeout after ${timeout} ms`)));
  return socket;
}

function get(target: Target): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const socket = open(target);
    let text = '';
    let peer = '';
    socket.on('connect', () => {
      peer = `${socket.remoteAddress} ${socket.remotePort}`;
      socket.write('hello\n');
    });
    socket.on('data', (data) => (text += data.toString()));
    socket.on('error', reject);
    socket.on('end', () => {
      try {
        resolve({ ...(JSON.parse(text) as Reply), peer });
      } catch {
        reject(new Error(`closed after '${text}'`));
      }
    });
  });
}

async function fetchPage(url: string): Promise<Page> {
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT), headers: { connection: 'close' } });
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: await response.text(),
  };
}

function ask(target: Target): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(target.host.includes(':') ? 'udp6' : 'udp4');
    const timer = setTimeout(
      () => finish(() => reject(new Error(`timeout after ${target.timeout ?? TIMEOUT} ms`))),
      target.timeout ?? TIMEOUT,
    );
    const finish = (then: () => void): void => {
      clearTimeout(timer);
      socket.close();
      then();
    };
    socket.on('error', (error) => finish(() => reject(error)));
    socket.bind(target.localPort ?? 0, target.localAddress, () => {
      /* connected, so that an ICMP error reaches us as one */
      const question = 'hello'.padEnd(target.bytes ?? 0);
      socket.once('connect', () => socket.send(question)).connect(target.port, target.host);
    });
    socket.on('message', (data) => {
      if (data.length < (target.bytes ?? 0)) finish(() => reject(new Error(`an answer of ${data.length} bytes`)));
      else finish(() => resolve(JSON.parse(data.toString()) as Reply));
    });
  });
}

const ASK = { get, ask } as const;

async function find({ host, port, protocol }: Probe, timeout: number): Promise<Finding> {
  try {
    await ASK[protocol === 'tcp' ? 'get' : 'ask']({ host, port, timeout });
    return 'open';
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (/ECONNREFUSED|EHOSTUNREACH|EACCES|EPERM/.test(message)) return 'refused';
    return /^timeout/.test(message) ? 'silent' : message;
  }
}

/** An emulated processor drops packets of its own accord where all of the grid asks at once. */
const AT_ONCE = SLOWNESS > 1 ? 24 : Infinity;

async function findAll(probes: readonly Probe[], timeout: number): Promise<Finding[]> {
  const findings: Finding[] = [];
  const waiting = [...probes.entries()];
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) findings[next[0]] = await find(next[1], timeout);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, probes.length) }, worker));
  return findings;
}

/** Sends the line, then so many bytes; resolves to the digest that is right and the one that came. */
function transfer(target: Target, line: string, bytes: number): Promise<{ sent: string; received: string }> {
  return new Promise((resolve, reject) => {
    const socket = open({ ...target, timeout: target.timeout ?? 10_000 });
    const body = pattern(bytes);
    const chunks: Buffer[] = [];
    socket.on('connect', () => {
      socket.write(line);
      if (bytes > 0) socket.write(body);
    });
    socket.on('data', (data) => chunks.push(data));
    socket.on('error', reject);
    socket.on('end', () => {
      const received = Buffer.concat(chunks);
      const md5 = (data: Buffer): string => createHash('md5').update(data).digest('hex');
      if (bytes > 0) resolve({ sent: md5(body), received: received.toString() });
      else resolve({ sent: md5(pattern(Number(line.split(' ')[1]))), received: md5(received) });
    });
  });
}

/** Requests as fast as they are answered, until told to stop. */
function startLoad(target: Target, concurrency: number): { stop: boolean; finished: Promise<LoadResult> } {
  const state = { stop: false, finished: Promise.resolve({ ok: 0, failed: 0, errors: [], who: {} } as LoadResult) };
  let ok = 0;
  const errors: string[] = [];
  const who: Record<string, number> = {};
  /* an emulated processor has other work as well, and is not yet done when the sixth SYN has gone: the next comes after 63 s */
  const pause = SLOWNESS > 1 ? 5 * SLOWNESS : 0;
  const patient = SLOWNESS > 1 ? { ...target, timeout: 150_000 } : target;
  const worker = async (): Promise<void> => {
    while (!state.stop) {
      if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
      try {
        const reply = await get(patient);
        ok++;
        who[reply.who] = (who[reply.who] ?? 0) + 1;
      } catch (error) {
        errors.push(error instanceof Error ? error.message : String(error));
      }
    }
  };
  state.finished = Promise.all(Array.from({ length: concurrency }, worker)).then(() => ({
    ok,
    failed: errors.length,
    errors: [...new Set(errors)].slice(0, 5),
    who,
  }));
  return state;
}

/** Opens a connection and keeps it; speak asks over it who is at the other end. */
async function hold(target: Target): Promise<{ id: number; reply: Reply }> {
  const socket = open(target);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  socket.setTimeout(0);
  socket.on('error', () => undefined);
  const id = nextHeld++;
  held.set(id, socket);
  return { id, reply: await speak(id) };
}

function speak(id: number): Promise<Reply> {
  const socket = held.get(id);
  if (!socket) return Promise.reject(new Error(`no connection ${id}`));
  /* it may have ended in silence, by what came after the last answer */
  if (socket.destroyed) return Promise.reject(socket.errored ?? new Error('closed'));
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => settle(() => reject(new Error(`timeout after ${TIMEOUT} ms`))), TIMEOUT);
    const onData = (data: Buffer): void => settle(() => resolve(JSON.parse(data.toString()) as Reply));
    const onError = (error: Error): void => settle(() => reject(error));
    const onEnd = (): void => settle(() => reject(new Error('closed')));
    const settle = (then: () => void): void => {
      clearTimeout(timer);
      socket.off('data', onData).off('error', onError).off('close', onEnd);
      then();
    };
    socket.on('data', onData).on('error', onError).on('close', onEnd);
    socket.write('again\n');
  });
}
