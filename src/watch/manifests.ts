/** A folder of manifests as a source: read at the start, followed while running. */
import { watch, type FSWatcher } from 'node:fs';
import { stat } from 'node:fs/promises';
import { WeirError } from '../errors.js';
import type { Change } from '../core/model.js';
import type { Source, SourceEvents } from '../core/model.js';
import type { SourceProblem } from './events.js';
import { mergeFiles } from './manifest-file.js';
import { isManifest, ManifestFolder, type FolderState } from './manifest-folder.js';
import { ProblemLog } from './problem-log.js';
import { ResourceStore } from './store.js';

export interface ManifestOptions {
  readonly directory: string;
  /** Quiet time after the last file event before the folder is read. */
  readonly debounceMs?: number;
  /** How often the folder is looked at without any event: network file systems and linked files send none. */
  readonly rescanMs?: number;
  /** How long a file written in place must be quiet before objects that are missing from it count as removed. */
  readonly settleMs?: number;
}

/** The objects of every .yaml, .yml and .json file in a folder. */
export function manifestSource(options: ManifestOptions): Source {
  return new ManifestSource(options);
}

/** Under a stream of events the folder is read at least this often. */
const PATIENCE_MS = 250;

class ManifestSource implements Source {
  readonly #options: Required<ManifestOptions>;
  readonly #folder: ManifestFolder;
  readonly #store = new ResourceStore();
  #events: SourceEvents | undefined;
  #log: ProblemLog | undefined;
  #watcher: FSWatcher | undefined;
  #watched = '';
  #timer: NodeJS.Timeout | undefined;
  #dueBy = Infinity;
  /** Files that events have named since the last look, and when the whole folder is to be looked at whatever they say. */
  #named = new Set<string>();
  #wholeBy = 0;
  #scan: Promise<void> = Promise.resolve();
  #notes = new Set<string>();
  #problems: readonly SourceProblem[] = [];

  constructor(options: ManifestOptions) {
    this.#options = { debounceMs: 25, rescanMs: 2000, settleMs: 200, ...options };
    this.#folder = new ManifestFolder(options.directory, this.#options.settleMs);
  }

  async start(events: SourceEvents): Promise<void> {
    const { directory } = this.#options;
    try {
      if (!(await stat(directory)).isDirectory()) throw new Error('not a directory');
      this.#events = events;
      this.#log = new ProblemLog(events);
      await this.#follow();
      this.#deliver(await this.#folder.refresh(), true);
    } catch (error) {
      this.#close();
      throw new WeirError('WEIR_MANIFEST', `read manifests folder ${directory}: ${reasonOf(error)}`, { cause: error });
    }
    events.synced();
    this.#schedule(this.#options.rescanMs);
  }

  async stop(): Promise<void> {
    this.#close();
    await this.#scan;
  }

  #close(): void {
    this.#events = undefined;
    clearTimeout(this.#timer);
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  /** Watches the directory that is now at the path; it may have been replaced since. */
  async #follow(): Promise<void> {
    const { directory, debounceMs } = this.#options;
    const found = await stat(directory, { bigint: true });
    const identity = `${found.dev}:${found.ino}`;
    if (identity === this.#watched || !this.#events) return;
    this.#watcher?.close();
    this.#watched = identity;
    try {
      this.#watcher = watch(directory, { persistent: false }, (_, name) => this.#noticed(name, debounceMs));
      this.#wholeBy = 0;
      this.#watcher.on('error', () => (this.#watched = ''));
    } catch (error) {
      const seconds = this.#options.rescanMs / 1000;
      this.#events?.info?.(`${directory}: no file events (${reasonOf(error)}); it is read every ${seconds} s instead`);
    }
  }

  /** Other names than those of manifests do not count, but `..data`: with it all files of a mounted ConfigMap change. */
  #noticed(name: string | null, delay: number): void {
    if (name === null || name.startsWith('..')) this.#wholeBy = 0;
    else if (isManifest(name)) this.#named.add(name);
    else return;
    this.#hurry(delay);
  }

  /** An event: read soon, but let a burst of events (one save is several) pass first. */
  #hurry(delay: number): void {
    const now = Date.now();
    if (this.#dueBy === Infinity) this.#dueBy = now + PATIENCE_MS;
    this.#schedule(Math.min(delay, Math.max(0, this.#dueBy - now)));
  }

  #schedule(delay: number): void {
    if (!this.#events) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#dueBy = Infinity;
      this.#scan = this.#scan.then(() => this.#rescan());
    }, delay);
  }

  async #rescan(): Promise<void> {
    const { rescanMs, settleMs, directory } = this.#options;
    const began = performance.now();
    let next = rescanMs;
    try {
      await this.#follow();
      const named = this.#named;
      this.#named = new Set();
      const whole = named.size === 0 || began >= this.#wholeBy;
      const state = await this.#folder.refresh(whole ? undefined : named);
      this.#deliver(state, false);
      if (state.settling) next = Math.min(rescanMs, settleMs / 2 + 1);
      // A folder of ten thousand files takes a while to look at: never spend a percent of a core on it.
      if (whole) this.#wholeBy = performance.now() + Math.max(next, 150 * (performance.now() - began));
      else if (state.settling) this.#wholeBy = 0;
    } catch (error) {
      this.#watched = '';
      const message = `cannot be read: ${reasonOf(error)}; what was read last stays in force`;
      this.#log?.update([{ object: directory, field: '', message, code: 'WEIR_MANIFEST' }]);
    }
    if (this.#dueBy === Infinity) this.#schedule(Math.max(next, this.#wholeBy - performance.now()));
  }

  #deliver(state: FolderState, first: boolean): void {
    if (!this.#events) return;
    if (state.changed || first) {
      const merged = mergeFiles(state.files);
      this.#problems = [...state.broken, ...merged.problems];
      const changes: Change[] = this.#store.retain(merged.desired);
      for (const resource of merged.desired.values()) if (resource) changes.push(...this.#store.put(resource));
      if (changes.length > 0) this.#events.changes(changes);
      this.#tell(state.files.flatMap((file) => file.notes));
    }
    // Halfway through a rename the same object stands in two files: that is not worth a word.
    if (!state.settling) this.#log?.update(this.#problems);
  }

  #tell(notes: readonly string[]): void {
    const before = this.#notes;
    this.#notes = new Set(notes);
    for (const note of this.#notes) if (!before.has(note)) this.#events?.info?.(note);
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
