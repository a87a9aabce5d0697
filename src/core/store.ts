/** The snapshot: the latest version of every object, indexed so that a change touches one service only. */
import { compileService, type DesiredService, isOurs, portLabel, type Settings } from './desired.js';
import { type Change, type EndpointSlice, type Node, type Problem, resourceLabel, type Service } from './model.js';
import { Claims } from './claims.js';
import { formatSocket, type Ip } from './net.js';
import { PolicyObjects } from './policy/objects.js';
import { VirtualAddresses } from './virtual-addresses.js';

export class Store {
  /** Pods, namespaces and network policies. */
  readonly policy = new PolicyObjects();
  readonly #services = new Map<string, Service>();
  /** Slices by service, then by slice name. */
  readonly #slices = new Map<string, Map<string, EndpointSlice>>();
  /** Service of each slice, to find it when the slice moves or goes. */
  readonly #serviceOfSlice = new Map<string, string>();
  readonly #nodes = new Map<string, Node>();
  readonly #claims = new Claims();
  readonly #virtual = new VirtualAddresses();
  /** Services with node ports: they depend on which of the node's addresses are services'. */
  readonly #withNodePorts = new Set<string>();
  readonly #dirty = new Set<string>();
  #nodesChanged = false;

  get nodes(): ReadonlyMap<string, Node> {
    return this.#nodes;
  }

  /** How many services there are. */
  get size(): number {
    return this.#services.size;
  }

  services(): string[] {
    return [...this.#services.keys()];
  }

  apply(changes: readonly Change[]): void {
    for (const change of changes) {
      this.policy.apply(change);
      if (change.op === 'delete') this.#delete(change.kind, change.namespace, change.name);
      else if (change.resource.kind === 'Service') this.#setService(change.resource);
      else if (change.resource.kind === 'EndpointSlice') this.#setSlice(change.resource);
      else if (change.resource.kind === 'Node') this.#setNode(change.resource);
    }
  }

  /** One service by `namespace/name`, with its slices. */
  service(key: string): { readonly service: Service; readonly slices: readonly EndpointSlice[] } | undefined {
    const service = this.#services.get(key);
    return service && { service, slices: [...(this.#slices.get(key)?.values() ?? [])] };
  }

  /** Everything is to be compiled again, because the settings have changed. */
  invalidate(): void {
    for (const key of this.#services.keys()) this.#dirty.add(key);
  }

  /** One service is to be compiled again. */
  touch(key: string): void {
    this.#dirty.add(key);
  }

  /** Whether a node has come, gone or changed its addresses since the last call. */
  takeNodesChanged(): boolean {
    const changed = this.#nodesChanged;
    this.#nodesChanged = false;
    return changed;
  }

  /** Compiles what has changed since the last call. */
  take(settings: Settings): { desired: DesiredService[]; gone: string[] } {
    const desired = new Map<string, DesiredService>();
    const gone: string[] = [];
    /* a claim that moves makes another service dirty, so this runs until nothing is left */
    for (const key of this.#dirty) {
      this.#dirty.delete(key);
      const service = this.#services.get(key);
      if (!service) {
        gone.push(key);
        desired.delete(key);
        this.#claim({ service: key, created: 0, uid: '' }, []);
        this.#withNodePorts.delete(key);
        this.#have(key, [], settings);
        continue;
      }
      desired.set(key, this.#compile(key, service, settings));
    }
    return { desired: [...desired.values()], gone };
  }

  #compile(key: string, service: Service, settings: Settings): DesiredService {
    const slices = [...(this.#slices.get(key)?.values() ?? [])];
    if (service.ports.some((port) => port.nodePort > 0)) this.#withNodePorts.add(key);
    else this.#withNodePorts.delete(key);
    this.#have(key, isOurs(service, settings) ? [...service.externalIps, ...service.loadBalancerIps] : [], settings);
    const nodePortAddresses = settings.nodePortAddresses.filter((address) => !this.#virtual.has(address));
    const compiled = compileService(service, slices, { ...settings, nodePortAddresses });
    const addresses = compiled.ports.flatMap((port) => port.frontends.map(addressOf));
    this.#claim({ service: key, created: service.created, uid: service.uid }, addresses);
    const { about } = compiled;
    const problems: Problem[] = compiled.problems.map((problem) => ({
      event: { about, reason: 'InvalidSetting' },
      ...problem,
    }));
    const ports = compiled.ports.map((port, index) => {
      const frontends = port.frontends.filter((frontend) => {
        const owner = this.#claims.owner(addressOf(frontend));
        if (owner === key) return true;
        const message = `${addressOf(frontend)} belongs to the older Service ${owner ?? ''} and is not served for this one`;
        const claimed = service.ports[index];
        problems.push({
          object: resourceLabel(service),
          field: claimed ? portLabel(service, claimed) : 'spec',
          message,
          event: { about, reason: 'AddressConflict' },
        });
        return false;
      });
      return frontends.length === port.frontends.length ? port : { ...port, frontends };
    });
    return { ...compiled, ports, problems };
  }

  #claim(claimant: { service: string; created: number; uid: string }, addresses: readonly string[]): void {
    for (const other of this.#claims.set(claimant, addresses)) this.#dirty.add(other);
  }

  /** Node ports move off an address that becomes a service's, and back. */
  #have(key: string, addresses: readonly Ip[], settings: Settings): void {
    const moved = this.#virtual.set(key, addresses);
    if (!moved.some((address) => settings.nodePortAddresses.includes(address))) return;
    for (const other of this.#withNodePorts) if (other !== key) this.#dirty.add(other);
  }

  #setService(service: Service): void {
    const key = `${service.namespace}/${service.name}`;
    this.#services.set(key, service);
    this.#dirty.add(key);
  }

  #setSlice(slice: EndpointSlice): void {
    const name = `${slice.namespace}/${slice.name}`;
    const service = `${slice.namespace}/${slice.service}`;
    if (this.#serviceOfSlice.get(name) !== service) this.#deleteSlice(name);
    const slices = this.#slices.get(service) ?? new Map<string, EndpointSlice>();
    slices.set(name, slice);
    this.#slices.set(service, slices);
    this.#serviceOfSlice.set(name, service);
    if (this.#services.has(service)) this.#dirty.add(service);
  }

  #setNode(node: Node): void {
    const before = this.#nodes.get(node.name);
    this.#nodes.set(node.name, node);
    if (JSON.stringify(before) !== JSON.stringify(node)) this.#nodesChanged = true;
  }

  #delete(kind: string, namespace: string, name: string): void {
    const key = `${namespace}/${name}`;
    if (kind === 'Service' && this.#services.delete(key)) this.#dirty.add(key);
    else if (kind === 'EndpointSlice') this.#deleteSlice(key);
    else if (kind === 'Node' && this.#nodes.delete(name)) this.#nodesChanged = true;
  }

  #deleteSlice(name: string): void {
    const service = this.#serviceOfSlice.get(name);
    if (service === undefined) return;
    this.#serviceOfSlice.delete(name);
    const slices = this.#slices.get(service);
    slices?.delete(name);
    if (slices?.size === 0) this.#slices.delete(service);
    if (this.#services.has(service)) this.#dirty.add(service);
  }
}

function addressOf(frontend: { address: string; port: number; protocol: string }): string {
  return `${formatSocket(frontend.address, frontend.port)}/${frontend.protocol}`;
}
