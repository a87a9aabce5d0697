/** Connections, and flows of datagrams, that are to go on with the backends that they have. */
import assert from 'node:assert/strict';
import type { Inhabitant } from '../netns/world.js';

/** Who asks where: TCP at `port`, UDP at `datagrams`. */
export interface Visit {
  readonly who: Inhabitant;
  readonly host: string;
  readonly port: number;
  readonly datagrams: number;
}

interface Held {
  readonly who: Inhabitant;
  readonly id: number;
  readonly backend: string;
}

interface Asked extends Visit {
  readonly localPort: number;
  readonly backend: string;
}

export class Conversations implements AsyncDisposable {
  readonly #held: readonly Held[];
  readonly #asked: readonly Asked[];
  /** Two questions at once cannot have the same port. */
  #turn: Promise<void> = Promise.resolve();
  /** Of datagrams: what is idle ends. */
  readonly #pulse: NodeJS.Timeout;

  private constructor(held: readonly Held[], asked: readonly Asked[]) {
    this.#held = held;
    this.#asked = asked;
    this.#pulse = setInterval(() => void this.#askAgain(), 10_000);
  }

  /**
   * From everywhere a connection to each of two backends, and datagrams from four ports of its own, counted from `localPort`, so
   * that chance alone cannot give each the backend that it had.
   */
  static async begin(name: string, visits: readonly Visit[], localPort: number): Promise<Conversations> {
    const held: Held[] = [];
    const asked: Asked[] = [];
    for (const [index, visit] of visits.entries()) {
      const { who, host, port, datagrams } = visit;
      for (let i = 0; i < 2; i++) {
        const { id, reply } = await who.holds(host, port);
        held.push({ who, id, backend: reply.who });
      }
      for (let i = 0; i < 4; i++) {
        const from = { localPort: localPort + 4 * index + i };
        asked.push({ ...visit, ...from, backend: (await who.asks(host, datagrams, from)).who });
      }
    }
    const list = [...held, ...asked].map(({ who, backend }) => `${who.name}>${backend}`);
    process.stdout.write(`${name}: ${list.join()}\n`);
    const conversations = new Conversations(held, asked);
    await conversations.#askAgain(); // one question makes no long flow
    return conversations;
  }

  async goOn(): Promise<void> {
    for (const { who, id, backend } of this.#held) assert.equal((await who.speaks(id)).who, backend);
    await this.#askAgain();
  }

  /** Ends the connections, and asks nothing more. */
  async end(): Promise<void> {
    await this[Symbol.asyncDispose]();
    for (const { who, id } of this.#held) await who.releases(id);
  }

  async areReset(): Promise<void> {
    for (const { who, id } of this.#held) assert.match(await who.fails(who.speaks(id)), /ECONNRESET|ended|closed/i);
  }

  /** Lets the datagrams rest, once those under way are answered. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#pulse);
    await this.#turn;
  }

  #askAgain(): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      for (const { who, host, datagrams, localPort, backend } of this.#asked) {
        const flow = `datagrams of ${who.name}:${localPort} to ${host}:${datagrams} for ${backend}`;
        const answer = await who.asks(host, datagrams, { localPort }).then(
          (reply) => reply.who,
          (error: Error) => error.message,
        );
        assert.equal(answer, backend, flow);
      }
    });
    return this.#turn;
  }
}
