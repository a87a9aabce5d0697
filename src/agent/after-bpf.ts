/** IPVS taking over from BPF, as its plane sees it: until when, and which settings it inherits. */
import type { AgentOptions } from '../options.js';
import { hasBpf } from './installed.js';
import { LeavingBpf } from './leaving-bpf.js';
import type { Log } from './log.js';
import { type Inherited, readSysctls } from './sysctls.js';
import { Takeover } from './takeover.js';

export class AfterBpf implements Disposable {
  readonly #drainTimeout: number;
  readonly #done: () => void;
  readonly #leaving: { readonly bpf: LeavingBpf; readonly takeover: Takeover } | undefined;
  /** What was changed for BPF, with what it was before. */
  readonly inherited: Inherited;
  /** ms since 1970 when BPF goes at the latest, 0: it is not there, or IPVS is not complete yet. */
  until = 0;

  /** `known` is `until` as an agent before this one has written it down. `done` is called when BPF is no more. */
  constructor({ bpfRoot, drainTimeout }: AgentOptions, objectPath: string, known: number, log: Log, done: () => void) {
    this.#drainTimeout = drainTimeout;
    this.#done = done;
    this.inherited = {};
    if (!hasBpf(bpfRoot)) return;
    const bpf = new LeavingBpf(bpfRoot, objectPath);
    this.#leaving = { bpf, takeover: new Takeover(bpf, log, () => this.#end()) };
    this.inherited = readSysctls(bpfRoot);
    if (bpf.left) this.until = known;
  }

  /** Everything of IPVS is in place: from now on BPF lets through what it does not know. Once. */
  begin(): void {
    if (!this.#leaving || this.#leaving.takeover.begun) return;
    if (this.until === 0) this.until = Date.now() + this.#drainTimeout;
    this.#leaving.bpf.leave();
    this.#leaving.takeover.begin({ earliest: 0, latest: this.until });
  }

  [Symbol.dispose](): void {
    this.#leaving?.takeover[Symbol.dispose]();
  }

  #end(): void {
    this.until = 0;
    this.#done();
  }
}
