/** What the control plane costs: building tables, and the way from an edited manifest to the changed map. */
import { maglevSize, maglevTable } from '../src/core/maglev.js';
import { MAPS } from '../src/maps/layout.js';
import { openTable } from '../src/maps/table.js';
import { service } from '../test/netns/manifests.js';
import { World } from '../test/netns/world.js';

export interface Timing {
  readonly what: string;
  readonly p50: number;
  readonly p99: number;
  readonly target: string;
}

/** ms to build one Maglev table. */
export function benchMaglev(): Timing[] {
  return (
    [
      [10, maglevSize(10)],
      [1000, 65_537],
      [1000, maglevSize(1000)],
    ] as const
  ).map(([count, size]) => {
    const backends = Array.from({ length: count }, (_, index) => ({
      name: `10.244.${index >> 8}.${index & 255}:8080`,
      weight: 1,
    }));
    const times = Array.from({ length: 30 }, () => {
      const started = performance.now();
      maglevTable(backends, size);
      return performance.now() - started;
    });
    const target = size === 65_537 ? '<= 5 ms' : '';
    return { what: `Maglev table, ${size} slots, ${count} backends`, ...percentiles(times), target };
  });
}

/** ms from the rename of a changed manifest to the changed weir_frontends entry, with an agent of its own. */
export async function benchEdit(edits = 40): Promise<Timing[]> {
  await using world = await World.create();
  const node = world.node('node-a', 1);
  const pods = [await world.pod(node, 'pod-1'), await world.pod(node, 'pod-2')];
  const write = (count: number): void =>
    world.write('web.json', service({ name: 'web', clusterIPs: ['10.96.0.10'], pods: pods.slice(0, count) }));
  write(1);
  await world.agent(node);
  using frontends = openTable(node.bpfRoot, MAPS.weir_frontends);
  const backends = (): number =>
    [...frontends.entries()].reduce((sum, [, frontend]) => sum + frontend.inside.backends, 0);
  const times: number[] = [];
  for (let i = 0; i < edits; i++) {
    const wanted = (i % 2) + 1;
    write(wanted === 1 ? 2 : 1);
    const expected = wanted === 1 ? 2 : 1;
    const started = performance.now();
    while (backends() !== expected && performance.now() - started < 5000)
      await new Promise((resolve) => setTimeout(resolve, 1));
    times.push(performance.now() - started);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return [{ what: 'edited manifest to changed map', ...percentiles(times.slice(1)), target: '' }];
}

/** 50th and 99th, of times in ms. */
export function percentiles(times: number[]): { p50: number; p99: number } {
  times.sort((a, b) => a - b);
  const at = (share: number): number =>
    Math.round((times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0) * 100) / 100;
  return { p50: at(0.5), p99: at(0.99) };
}
