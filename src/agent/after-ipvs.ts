/** BPF taking over from IPVS, as its plane sees it: the stage that its programs are in, and until when. */
import { describeError } from '../errors.js';
import { readState, stateDirectory } from '../ipvs/state-file.js';
import { type Moment, ticksNow, ticksPerSecond } from '../loader/clock.js';
import { type Config, STAGE } from '../maps/layout.js';
import type { AgentOptions } from '../options.js';
import { hasIpvs } from './installed.js';
import { LeavingIpvs } from './leaving-ipvs.js';
import type { Log } from './log.js';
import { inheritSysctls } from './sysctls.js';
import { Takeover } from './takeover.js';

/** Ticks that never come: until it is known when a takeover ends. */
const NEVER = (1n << 64n) - 1n;

export class AfterIpvs implements Disposable {
  readonly #options: AgentOptions;
  readonly #log: Log;
  #leaving: { readonly ipvs: LeavingIpvs; readonly takeover: Takeover } | undefined;
  /** BPF has what is new. Where it has never been complete, IPVS has that until it is. */
  #joined: boolean;
  #until: bigint;

  /** `before` is the settings of the programs as an agent before this one has left them. `done` is called when IPVS is no more. */
  constructor(options: AgentOptions, before: Config | undefined, log: Log, done: () => void) {
    this.#options = options;
    this.#log = log;
    const stage = before?.stage ?? STAGE.ALONE;
    const served = before !== undefined && before.generation > 0n;
    this.#joined = stage === STAGE.JOINING || (stage === STAGE.ALONE && served);
    this.#until = stage === STAGE.JOINING ? (before?.stageUntil ?? NEVER) : NEVER;
    const state = hasIpvs(options.bpfRoot) ? readState(stateDirectory(options.bpfRoot)) : undefined;
    if (!state) return;
    inheritSysctls(options.bpfRoot, state.sysctls);
    const ipvs = new LeavingIpvs(options.bpfRoot, state);
    const takeover = new Takeover(ipvs, log, () => {
      this.#leaving = undefined;
      done();
    });
    this.#leaving = { ipvs, takeover };
  }

  /** For the programs. */
  get stage(): Pick<Config, 'stage' | 'stageUntil'> {
    if (!this.#leaving) return { stage: STAGE.ALONE, stageUntil: 0n };
    return { stage: this.#joined ? STAGE.JOINING : STAGE.LEAVING, stageUntil: this.#until };
  }

  /** Everything of BPF is in place: from now on it has what is new. Once; where an agent before this one has begun, the time runs on. */
  begin(clock: Moment): void {
    if (!this.#leaving || this.#leaving.takeover.begun) return;
    const { drainTimeout, takeoverGrace } = this.#options;
    const longest = Math.max(drainTimeout, takeoverGrace);
    const now = ticksNow(clock);
    const perMs = ticksPerSecond() / 1000;
    if (this.#until === NEVER) {
      this.#until = now + BigInt(Math.ceil(longest * perMs));
      this.#leave(this.#leaving.ipvs, now);
    }
    this.#joined = true;
    const latest = Date.now() + Number(this.#until - now) / perMs;
    this.#leaving.takeover.begin({ earliest: latest - longest + takeoverGrace, latest });
  }

  [Symbol.dispose](): void {
    this.#leaving?.takeover[Symbol.dispose]();
  }

  #leave(ipvs: LeavingIpvs, now: bigint): void {
    try {
      const { flows, clients } = ipvs.leave(now);
      this.#log('info', `takeover: what IPVS knows is kept: flows=${flows} clients=${clients}`);
    } catch (error) {
      this.#log('error', `takeover: UDP and SCTP flows and session affinity begin anew: ${describeError(error)}`);
    }
  }
}
