/** UDP sockets that an inhabitant keeps: connected or not, it says who it takes the other end for. */
import { createSocket, type Socket } from 'node:dgram';
import type { Reply, Target } from './inhabitant.js';

/** An answer, and what the socket shows of whom it came from. */
export interface Said extends Reply {
  /** Source of the datagram, as `ADDRESS PORT`. */
  readonly from: string;
  /** The other end of a connected socket by its own account. */
  readonly peer: string;
}

export type TalkCommand =
  | { readonly do: 'talk'; readonly target: Target; readonly connected: boolean }
  | { readonly do: 'say'; readonly id: number };

export function converse(command: TalkCommand): Promise<unknown> {
  return command.do === 'talk' ? talk(command.target, command.connected) : say(command.id);
}

interface Talk {
  readonly socket: Socket;
  readonly target: Target;
  readonly connected: boolean;
  /** What ended it, if anything has. */
  error: Error | undefined;
}

const TIMEOUT = 3000;
const talks = new Map<number, Talk>();

/** Opens a socket towards the target; returns its number. */
async function talk(target: Target, connected: boolean): Promise<number> {
  const socket = createSocket(target.host.includes(':') ? 'udp6' : 'udp4');
  const opened: Talk = { socket, target, connected, error: undefined };
  const id = talks.size + 1;
  talks.set(id, opened);
  await new Promise<void>((resolve, reject) => {
    socket.on('error', (error) => {
      opened.error = error;
      reject(error);
    });
    socket.bind(0, () => {
      if (!connected) resolve();
      else socket.once('connect', resolve).connect(target.port, target.host);
    });
  });
  return id;
}

/** Asks over the socket who is at the other end; fails with whatever has ended it. */
function say(id: number): Promise<Said> {
  const opened = talks.get(id);
  if (!opened) return Promise.reject(new Error(`no socket ${id}`));
  const { socket, target, connected } = opened;
  if (opened.error) return Promise.reject(opened.error);
  return new Promise((resolve, reject) => {
    const timeout = target.timeout ?? TIMEOUT;
    const timer = setTimeout(() => settle(() => reject(new Error(`timeout after ${timeout} ms`))), timeout);
    const onMessage = (data: Buffer, source: { address: string; port: number }): void =>
      settle(() =>
        resolve({
          ...(JSON.parse(data.toString()) as Reply),
          from: `${source.address} ${source.port}`,
          peer: connected ? `${socket.remoteAddress().address} ${socket.remoteAddress().port}` : '',
        }),
      );
    const onError = (error: Error): void => settle(() => reject(error));
    const settle = (then: () => void): void => {
      clearTimeout(timer);
      socket.off('message', onMessage).off('error', onError);
      then();
    };
    socket.on('message', onMessage).on('error', onError);
    const sent = (error: Error | null): void => {
      if (error) onError(error);
    };
    if (connected) socket.send('hello', sent);
    else socket.send('hello', target.port, target.host, sent);
  });
}
