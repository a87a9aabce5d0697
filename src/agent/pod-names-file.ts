/** Whose the addresses of the cluster's pods are, kept for the reading commands: nftables knows this node's pods only. */
import type { Ip } from '../core/net.js';
import { podNamesText, readPodNamesText, writePodNames } from '../ipvs/pod-names.js';

/** ms between two writes. */
const INTERVAL = 1000;

/** Disposing writes what is still to be written. */
export class PodNamesFile implements Disposable {
  readonly #directory: string;
  readonly #failed: (error: unknown) => void;
  #written: string | undefined;
  #pods: ReadonlyMap<Ip, string> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(directory: string, failed: (error: unknown) => void) {
    this.#directory = directory;
    this.#failed = failed;
  }

  /** The map may change until it is written: it is looked at then, at most once a second. */
  follow(pods: ReadonlyMap<Ip, string>): void {
    this.#pods = pods;
    this.#timer ??= setTimeout(() => this.#flush(), INTERVAL);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#pods) return;
    const text = podNamesText(this.#pods);
    this.#pods = undefined;
    try {
      this.#written ??= readPodNamesText(this.#directory);
      if (text === this.#written) return;
      writePodNames(this.#directory, text);
      this.#written = text;
    } catch (error) {
      this.#failed(error);
    }
  }

  [Symbol.dispose](): void {
    this.#flush();
  }
}
