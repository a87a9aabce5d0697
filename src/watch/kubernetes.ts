/** The API server as a source: one reflector a kind, their changes in batches. */
import { setMaxListeners } from 'node:events';
import { ApiClient, type ApiDeadlines } from './api-client.js';
import { ApiHealth } from './api-health.js';
import { ChangeBatch } from './change-batch.js';
import type { Problem, Source, SourceEvents } from '../core/model.js';
import { EventWriter, type EventPace } from './event-writer.js';
import { loadApiServers, type ApiAddress } from './kube-config.js';
import { ObjectProblems } from './problem-log.js';
import { Reflector, type ApiResource, type ReflectorSink, type ReflectorTiming } from './reflector.js';

export interface KubernetesOptions extends ApiAddress {
  /** Who writes Events; without it none are written. */
  readonly nodeName?: string;
  readonly resources?: readonly ApiResource[];
  readonly timing?: Partial<KubernetesTiming>;
  readonly pace?: EventPace;
  readonly random?: () => number;
  /** Told when another address of the API server has answered than before. */
  readonly remember?: (address: string) => void;
}

export interface KubernetesTiming extends ApiDeadlines, ReflectorTiming {
  /** How long changes are collected before they are delivered together. */
  readonly batchMs: number;
}

/** Headless services are none of a proxy's business, and the server need not even send them. */
const NOT_HEADLESS = '!service.kubernetes.io/headless';

/** What Weir lists and watches; deploy/ grants exactly these. */
export const API_RESOURCES: readonly ApiResource[] = [
  { kind: 'Service', resource: 'services', path: '/api/v1/services', labelSelector: NOT_HEADLESS },
  {
    kind: 'EndpointSlice',
    resource: 'endpointslices.discovery.k8s.io',
    path: '/apis/discovery.k8s.io/v1/endpointslices',
    labelSelector: NOT_HEADLESS,
  },
  { kind: 'Node', resource: 'nodes', path: '/api/v1/nodes' },
  { kind: 'Pod', resource: 'pods', path: '/api/v1/pods' },
  { kind: 'Namespace', resource: 'namespaces', path: '/api/v1/namespaces' },
  {
    kind: 'NetworkPolicy',
    resource: 'networkpolicies.networking.k8s.io',
    path: '/apis/networking.k8s.io/v1/networkpolicies',
  },
];

const TIMING: KubernetesTiming = {
  connectMs: 5_000,
  responseMs: 30_000,
  silenceMs: 150_000,
  backoffMs: [200, 30_000],
  watchSeconds: [300, 600],
  pageSize: 500,
  batchMs: 1,
};

/**
 * Everything in API_RESOURCES from the API server. `start` rejects only where the configuration is unusable; a server
 * that is away is reported and tried again for ever, and `synced` follows the first complete list of every kind.
 */
export function kubernetesSource(options: KubernetesOptions): Source {
  return new KubernetesSource(options);
}

class KubernetesSource implements Source {
  readonly #options: KubernetesOptions;
  readonly #stopping = new AbortController();
  #batch: ChangeBatch | undefined;
  #writer: EventWriter | undefined;
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: KubernetesOptions) {
    this.#options = options;
  }

  async start(events: SourceEvents): Promise<void> {
    const { resources = API_RESOURCES, random = Math.random } = this.#options;
    const timing = { ...TIMING, ...this.#options.timing };
    let last = '';
    const reached = (address: string): void => {
      if (address === last) return;
      last = address;
      this.#options.remember?.(address);
    };
    const client = new ApiClient(await loadApiServers(this.#options), timing, reached);
    const batch = new ChangeBatch(timing.batchMs, (changes) => events.changes(changes));
    this.#batch = batch;
    const health = new ApiHealth(events);
    const problems = new ObjectProblems(events);
    const unlisted = new Set(resources);
    const sink = (resource: ApiResource): ReflectorSink => ({
      changes: (changes) => batch.add(changes),
      listed: () => {
        if (!unlisted.delete(resource) || unlisted.size > 0) return;
        batch.flush();
        events.synced();
      },
      judged: (key, found) => problems.judged(key, found),
      failed: (verb, name, error) => health.failed(verb, name, error),
      answered: (name) => health.answered(name),
    });
    const { signal } = this.#stopping;
    setMaxListeners(0, signal); // every request of every reflector listens, and Node warns from the eleventh on
    const { nodeName, pace } = this.#options;
    if (nodeName !== undefined) {
      const refused = (message: string): void => events.info?.(`Events are not written: ${message}`);
      this.#writer = new EventWriter({ client, nodeName, signal, refused, ...(pace ? { pace } : {}) });
    }
    if (signal.aborted) return;
    const reflectors = resources.map((resource) => new Reflector(client, resource, sink(resource), timing, random));
    this.#running = Promise.all(reflectors.map((reflector) => reflector.run(signal)));
  }

  publish(problem: Problem): void {
    this.#writer?.write(problem);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    this.#batch?.discard();
  }
}
