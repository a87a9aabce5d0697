/**
 * The stories of test/netns on stock Debian kernels: the README's table of supported kernels is what these tests say. One
 * kernel and its shortest story by default; `make test-vm` names all kernels in WEIR_KERNELS.
 */
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { fetchKernel } from './kernels.js';
import { boot, missing } from './machine.js';

const PROGRAM = fileURLToPath(new URL('../../bundle/cli/weir', import.meta.url));
/** How much slower than this machine a guest may be. */
const TIME_FACTOR = 20;

interface Story {
  readonly name: string;
  readonly kernels: readonly string[];
  readonly command: readonly string[];
  /** s */
  readonly limit: number;
  readonly dataplane?: 'ipvs';
  /** Part of `make test`, with the first of its kernels. */
  readonly short?: true;
}

const BPF_KERNELS = ['6.12', '6.1'];
/** Older than what BPF needs. */
const IPVS_KERNELS = [...BPF_KERNELS, '5.10'];

/** A story of test/netns, by file and by what its title matches. */
function netns(file: string, title: string): string[] {
  return ['node_modules/.bin/ava', `dist/test/netns/${file}.test.js`, '--timeout=900s', '--tap', `--match=${title}`];
}

const STORIES: readonly Story[] = [
  {
    name: 'BPF: every frontend answers with every backend by DSR',
    kernels: BPF_KERNELS,
    command: netns('services', '*: dsr, routed pods, strict rp_filter'),
    limit: 300,
    short: true,
  },
  {
    name: 'BPF: every frontend answers with every backend by NAT',
    kernels: BPF_KERNELS,
    command: netns('services', '*: nat, bridged pods, strict rp_filter*'),
    limit: 300,
  },
  {
    name: 'BPF: an SCTP association through every frontend',
    kernels: BPF_KERNELS,
    command: ['node', 'dist/test/vm/sctp-story.js'],
    limit: 300,
  },
  {
    name: 'IPVS: every frontend answers with every backend by NAT, routed pods',
    kernels: IPVS_KERNELS,
    command: netns('services', '*: nat, routed pods, strict rp_filter'),
    limit: 600,
    dataplane: 'ipvs',
  },
  {
    name: 'IPVS: every frontend answers with every backend by NAT, bridged pods',
    kernels: IPVS_KERNELS,
    command: netns('services', '*: nat, bridged pods, no rp_filter'),
    limit: 600,
    dataplane: 'ipvs',
  },
  {
    name: 'IPVS: every frontend answers with every backend by DSR',
    kernels: IPVS_KERNELS,
    command: netns('services', '*: dsr, routed pods, strict rp_filter'),
    limit: 600,
    dataplane: 'ipvs',
  },
  {
    name: 'BPF to IPVS, back and to IPVS again, under connections that are held and new ones that never cease',
    kernels: BPF_KERNELS,
    command: ['node', 'dist/test/vm/takeover-story.js'],
    limit: 600,
  },
  {
    name: 'IPVS: a service without endpoints refuses its clients at once',
    kernels: IPVS_KERNELS,
    command: netns('services', 'a service without endpoints refuses*'),
    limit: 300,
    dataplane: 'ipvs',
  },
];

const asked = process.env['WEIR_KERNELS']?.split(',');

for (const { name, kernels, command, limit, dataplane = 'bpf', short } of STORIES) {
  const chosen = asked ? kernels.filter((kernel) => asked.includes(kernel)) : kernels.slice(0, short ? 1 : 0);
  for (const kernel of chosen) {
    test.serial(`Linux ${kernel}: ${name}`, async (t) => {
      t.timeout((limit + 120) * 1000);
      await passes(t, kernel, command, limit, dataplane);
    });
  }
}

async function passes(
  t: ExecutionContext,
  version: string,
  command: readonly string[],
  limit: number,
  dataplane: string,
): Promise<void> {
  t.is(missing(), '', 'this machine can run another');
  const kernel = fetchKernel(version);
  const environment = { WEIR_PROGRAM: PROGRAM, WEIR_TIME_FACTOR: `${TIME_FACTOR}`, WEIR_DATAPLANE: dataplane };
  const { status, output } = await boot(kernel, { command, environment, limit });
  t.is(status, 0, `Linux ${kernel.release}\n${output}`);
}
