/**
 * `make bench`: prints tables with ratios to the floors of the same run and with targets, and writes bench/results/latest.json.
 * `node dist/bench/main.js packets|control|scale` measures a part; BENCH_QUICK=1 takes a tenth of the large
 * cluster, BENCH_FEED=server one way of feeding it.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { benchEdit, benchMaglev, type Timing } from './control.js';
import { benchNft } from './nft.js';
import { benchCompiler } from './policy.js';
import { benchPackets, type Result } from './packets.js';
import { benchScale, type ScaleFigure } from './scale.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const VERDICTS = {
  xdp: ['ABORTED', 'DROP', 'PASS', 'TX', 'REDIRECT'],
  tc: ['OK'],
};
const SERVICES = process.env['BENCH_QUICK'] ? 1_000 : 10_000;

const PARTS = { packets: packetTable, control: controlTable, scale: scaleTable };
const wanted = process.argv.slice(2);

console.log(`Linux ${release()}, ${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`);
const results: Record<string, unknown> = {};
for (const [name, measure] of Object.entries(PARTS))
  if (wanted.length === 0 || wanted.includes(name)) results[name] = await measure();
mkdirSync(join(ROOT, 'bench/results'), { recursive: true });
writeFileSync(
  join(ROOT, 'bench/results/latest.json'),
  JSON.stringify({ kernel: release(), ...results }, null, 2) + '\n',
);

async function packetTable(): Promise<Result[]> {
  console.log('\nns a packet above an empty XDP program; the ratio is to the floor measured beside it\n');
  console.log(
    `${'packet'.padEnd(26)}${'setup'.padEnd(38)}${'ns'.padStart(7)}${'floor'.padStart(20)}${'ratio'.padStart(7)}${'target'.padStart(8)}  path`,
  );
  return benchPackets(ROOT, print);
}

async function controlTable(): Promise<Timing[]> {
  const control = [...benchMaglev(), ...benchCompiler(), ...benchNft(), ...(await benchEdit())];
  console.log('\nms, median and 99th percentile\n');
  for (const { what, p50, p99, target } of control)
    console.log(`${what.padEnd(46)}${`${p50}`.padStart(9)}${`${p99}`.padStart(9)}  ${target}`);
  return control;
}

async function scaleTable(): Promise<ScaleFigure[]> {
  console.log(`\n${SERVICES} services with ten endpoints each\n`);
  return benchScale(SERVICES, process.env['BENCH_FEED'] ?? '', printFigure);
}

function print({ what, setup, net, floor, ratio, target, hook, verdict, encapsulated }: Result): void {
  const path = `${VERDICTS[hook][verdict] ?? verdict}${encapsulated ? ', encapsulated' : ''}`;
  const columns = [`${net}`.padStart(7), floor.padStart(20), `${ratio}`.padStart(7), `${target ?? ''}`.padStart(8)];
  console.log(
    `${what.padEnd(26)}${setup.padEnd(38)}${columns.join('')}  ${path}${ratio > (target ?? Infinity) ? '  (over)' : ''}`,
  );
}

function printFigure({ feed, what, value, unit, target }: ScaleFigure): void {
  const wish = target === undefined ? '' : `<= ${target}${value > target ? '  (over)' : ''}`;
  console.log(`${feed.padEnd(18)}${what.padEnd(68)}${`${value} ${unit}`.trimEnd().padStart(11)}  ${wish}`);
}
