/** The world that most stories happen in: a shop with pods on two nodes, an agent on each, and a client far away. */
import { service, type ServiceSpec } from './manifests.js';
import { type Agent, type Node, type Pod, World, type WorldOptions } from './world.js';

export const FRONTENDS = {
  v4: { clusterIp: '10.96.0.10', external: '192.0.2.80', node: '10.0.0.1', client: '10.9.0.10' },
  v6: { clusterIp: 'fd00:96::10', external: '2001:db8::80', node: 'fd00::1', client: 'fd00:9::10' },
} as const;
export const FAMILIES = ['v4', 'v6'] as const;
export const FORWARDINGS = ['nat', 'dsr'] as const;

/** The stories are the same whatever forwards the packets. */
export const DATAPLANE = process.env['WEIR_DATAPLANE'] ?? 'bpf';

export interface ShopOptions extends WorldOptions {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly flags?: readonly string[];
}

/** web-1 and the shopper live on node-a, to which the router sends the external addresses; web-2 lives on node-b. */
export class Shop implements AsyncDisposable {
  readonly world: World;
  readonly a: Node;
  readonly b: Node;
  readonly web1: Pod;
  readonly web2: Pod;
  readonly shopper: Pod;
  readonly #annotations: Readonly<Record<string, string>>;
  agents: readonly Agent[] = [];

  private constructor(
    world: World,
    nodes: [Node, Node],
    pods: [Pod, Pod, Pod],
    annotations: Readonly<Record<string, string>>,
  ) {
    this.world = world;
    [this.a, this.b] = nodes;
    [this.web1, this.web2, this.shopper] = pods;
    this.#annotations = annotations;
  }

  static async open({ annotations = {}, flags = [], ...options }: ShopOptions = {}): Promise<Shop> {
    const world = await World.create(options);
    try {
      const nodes: [Node, Node] = [world.node('node-a', 1), world.node('node-b', 2)];
      const [a, b] = nodes;
      const pods: [Pod, Pod, Pod] = [
        await world.pod(a, 'web-1'),
        await world.pod(b, 'web-2'),
        await world.pod(a, 'shopper'),
      ];
      for (const pod of pods) {
        await pod.inhabitant.serve(8080);
        await pod.inhabitant.serve(8081, 'udp');
      }
      for (const family of FAMILIES) world.routeAddress(FRONTENDS[family].external, a);
      const shop = new Shop(world, nodes, pods, annotations);
      world.write('nodes.json', [a.manifest(), b.manifest()]);
      shop.serves([shop.web1, shop.web2]);
      const all = [`--dataplane=${DATAPLANE}`, ...flags];
      shop.agents = [await world.agent(a, ...all), await world.agent(b, ...all)];
      return shop;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  get client(): World['client'] {
    return this.world.client;
  }

  /** Services web (TCP 80) and dns (UDP 53), with these pods behind them. */
  serves(pods: ServiceSpec['pods'], more: Partial<ServiceSpec> = {}): void {
    const addresses = {
      clusterIPs: FAMILIES.map((family) => FRONTENDS[family].clusterIp),
      externalIPs: FAMILIES.map((family) => FRONTENDS[family].external),
      annotations: this.#annotations,
    };
    const dns = { name: 'dns', port: 53, targetPort: 8081, protocol: 'UDP', nodePort: 30053 } as const;
    this.world.write('web.json', service({ name: 'web', nodePort: 30080, ...addresses, pods, ...more }));
    this.world.write('dns.json', service({ ...dns, ...addresses, pods, ...more }));
  }

  /** Waits until what is written is in force on both nodes. */
  async settled(): Promise<void> {
    for (const node of [this.a, this.b]) await node.agrees();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.world[Symbol.asyncDispose]();
  }
}
