/** Whether the tables are where the next agent and the reading commands will look for them. */
import { describeError } from '../errors.js';
import { MAPS } from '../maps/layout.js';
import { openTable } from '../maps/table.js';

/** Calls to one look. */
const EVERY = 10;

export class PinCheck {
  readonly #root: string;
  #calls = 0;
  #faults: readonly string[] = [];

  constructor(root: string) {
    this.#root = root;
  }

  /** What was found at the last look; every tenth call looks. */
  faults(): readonly string[] {
    if (this.#calls++ % EVERY === 0) this.#faults = this.#look();
    return this.#faults;
  }

  #look(): readonly string[] {
    try {
      using config = openTable(this.#root, MAPS.weir_config);
      const pid = config.get(0)?.pid;
      return pid === process.pid ? [] : [`the tables below ${this.#root} belong to process ${pid ?? 0}`];
    } catch (error) {
      return [`the tables cannot be read: ${describeError(error)}`];
    }
  }
}
