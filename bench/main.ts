/** `make bench`: prints a table with ratios to the floors of the same run, and writes bench/results/latest.json. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { benchEdit, benchMaglev } from './control.js';
import { benchPackets, type Result } from './packets.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const VERDICTS = ['ABORTED', 'DROP', 'PASS', 'TX', 'REDIRECT'];

console.log(`Linux ${release()}, ${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`);
console.log('\nns a packet above an empty XDP program; the ratio is to the floor measured beside it\n');
console.log(
  `${'packet'.padEnd(26)}${'setup'.padEnd(38)}${'ns'.padStart(7)}${'floor'.padStart(20)}${'ratio'.padStart(7)}${'target'.padStart(8)}  path`,
);
const packets = await benchPackets(ROOT, print);
const control = [...benchMaglev(), ...(await benchEdit())];
console.log('\nms, median and 99th percentile\n');
for (const { what, p50, p99, target } of control)
  console.log(`${what.padEnd(46)}${`${p50}`.padStart(9)}${`${p99}`.padStart(9)}  ${target}`);
mkdirSync(join(ROOT, 'bench/results'), { recursive: true });
writeFileSync(
  join(ROOT, 'bench/results/latest.json'),
  JSON.stringify({ kernel: release(), packets, control }, null, 2) + '\n',
);

function print({ what, setup, net, floor, ratio, target, verdict, encapsulated }: Result): void {
  const path = `${VERDICTS[verdict] ?? verdict}${encapsulated ? ', encapsulated' : ''}`;
  const columns = [`${net}`.padStart(7), floor.padStart(20), `${ratio}`.padStart(7), `${target}`.padStart(8)];
  console.log(`${what.padEnd(26)}${setup.padEnd(38)}${columns.join('')}  ${path}${ratio > target ? '  (over)' : ''}`);
}
