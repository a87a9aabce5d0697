/** What a packet costs: the programs as they ship, over tables filled by the production code, beside the floors of the same run. */
import { join } from 'node:path';
import type { Fd } from '../src/loader/libbpf.js';
import { BpfObject } from '../src/loader/object.js';
import { updateElement } from '../src/loader/kernel-map.js';
import { Lab, type Setup, VIP } from './lab.js';
import { benchPolicy } from './policy.js';
import { type Figure, Stopwatch, type Stream } from './xdp.js';

export interface Result extends Figure {
  readonly what: string;
  readonly setup: string;
  /** The floor that it is held against, and how many times its cost this is. */
  readonly floor: string;
  readonly ratio: number;
  /** undefined: told for information. */
  readonly target: number | undefined;
}

const established = (flows: number): Stream => ({ ...TCP, flows, warm: true });
const TCP: Stream = { protocol: 'tcp', destination: VIP, port: 80, syn: false, flows: 1, warm: true };
const CASES: readonly {
  name: string;
  stream: Stream;
  floor: { nat: string; dsr: string };
  target: { nat: number; dsr: number };
}[] = [
  {
    name: 'established, 1 flow',
    stream: established(1),
    floor: { dsr: 'maglev_flows', nat: 'nat_flows' },
    target: { dsr: 1.25, nat: 1.35 },
  },
  {
    name: 'established, 64k flows',
    stream: established(65536),
    floor: { dsr: 'maglev_flows', nat: 'nat_flows' },
    target: { dsr: 1.35, nat: 1.35 },
  },
  {
    name: 'established, 512k flows',
    stream: established(1 << 19),
    floor: { dsr: 'maglev_flows', nat: '' },
    target: { dsr: 1.35, nat: 0 },
  },
  {
    name: 'SYN flood, all new flows',
    stream: { ...TCP, syn: true, flows: 1 << 24, warm: false },
    floor: { dsr: 'maglev', nat: '' },
    target: { dsr: 2.6, nat: 0 },
  },
  {
    name: 'UDP, 1 flow',
    stream: { ...TCP, protocol: 'udp', port: 53 },
    floor: { dsr: 'maglev_flows', nat: 'nat_flows' },
    target: { dsr: 1.35, nat: 1.35 },
  },
  {
    name: 'not for a service',
    stream: { ...TCP, destination: '10.254.1.1', flows: 1024, warm: false },
    floor: { dsr: 'maglev_flows', nat: '' },
    target: { dsr: 1.4, nat: 0 },
  },
];
const SETUPS: readonly Setup[] = process.env['BENCH_QUICK']
  ? [
      { forwarding: 'dsr', services: 1, backends: 10 },
      { forwarding: 'nat', services: 1, backends: 1000 },
    ]
  : [
      { forwarding: 'dsr', services: 1, backends: 10 },
      { forwarding: 'dsr', services: 1, backends: 1000 },
      { forwarding: 'dsr', services: 1000, backends: 10 },
      { forwarding: 'dsr', services: 10_000, backends: 10 },
      { forwarding: 'nat', services: 1, backends: 10 },
      { forwarding: 'nat', services: 10_000, backends: 1000 },
    ];

/** Measures everything; progress goes to report as it comes. */
export async function benchPackets(root: string, report: (result: Result) => void): Promise<Result[]> {
  using lab = new Lab();
  using floors = new BpfObject(join(root, 'bench/build/floors.bpf.o'));
  floors.load();
  registerVip(floors);
  const floor = (name: string): Fd => floors.programs().get(name)!.fd();
  using stopwatch = new Stopwatch(join(root, 'bench/build/wrap.bpf.o'), {
    xdp: floor('noop'),
    tc: floor('noop_tc'),
  });
  const results: Result[] = [];
  await benchPolicy(root, lab, stopwatch, floor('maglev_flows'), (result) => {
    results.push(result);
    report(result);
  });
  for (const setup of SETUPS) {
    using world = await lab.open(root, setup);
    for (const { name, stream, floor: floorNames, target } of CASES) {
      const floorName = floorNames[setup.forwarding];
      if (floorName === '') continue;
      const least = stopwatch.measure(floor(floorName), stream);
      const figure = stopwatch.measure(world.xdp, stream);
      const ratio = Math.round((figure.net / least.net) * 100) / 100;
      const label = `${setup.forwarding}, ${setup.services} services, ${setup.backends} backends`;
      const result = {
        ...figure,
        what: name,
        setup: label,
        floor: `${floorName} ${least.net}`,
        ratio,
        target: target[setup.forwarding],
      };
      results.push(result);
      report(result);
    }
  }
  return results;
}

function registerVip(floors: BpfObject): void {
  const vips = floors.maps().get('vips')!.fd();
  for (const [port, protocol] of [
    [80, 6],
    [53, 17],
  ] as const) {
    const key = Buffer.from([10, 254, 0, 1, port >> 8, port & 255, protocol, 0]);
    updateElement(vips, key, Buffer.alloc(8));
  }
}
