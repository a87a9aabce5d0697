/**
 * The stories of test/netns on stock Debian kernels: the README's table of supported kernels is what these tests say. Each kernel
 * boots once, and one story follows the other. `make test` has one kernel and a few stories; `make test-vm` names all kernels in
 * WEIR_KERNELS.
 */
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { fetchKernel } from './kernels.js';
import { type Command, Machine, missing } from './machine.js';

const PROGRAM = fileURLToPath(new URL('../../bundle/cli/weir', import.meta.url));
/** How much slower than this machine a guest may be. */
const TIME_FACTOR = 20;
/** s a guest may take to boot. */
const BOOT = 120;

interface Story {
  readonly name: string;
  readonly command: readonly string[];
  /** s */
  readonly limit: number;
  /** Part of `make test`. */
  readonly short?: true;
}

/** Stories of test/netns, by file and by what their titles match. */
function netns(file: string, title: string, limit: number, short?: true): Story {
  return { ...tests(`netns/${file}`, title), limit, ...(short ? { short } : {}) };
}

/** Tests of single packets, where kernels have differed. */
function packet(file: string, title: string): Story {
  return { ...tests(`packet/${file}`, title), limit: 900 };
}

function tests(file: string, title: string): Pick<Story, 'name' | 'command'> {
  const ava = ['node_modules/.bin/ava', `dist/test/${file}.test.js`, '--timeout=3600s', '--tap'];
  return { name: `${basename(file)}: ${title}`, command: [...ava, `--match=${title}`] };
}

/** A story of this folder. */
function own(file: string, name: string, limit: number): Story {
  return { name, command: ['node', `dist/test/vm/${file}.js`], limit };
}

const SCTP = own('sctp-story', 'an SCTP association through every frontend', 1200);

/** All of these run natively as well. */
const BPF: readonly Story[] = [
  netns('services', '*: dsr, routed pods, strict rp_filter', 1200, true),
  netns('services', '*: nat, bridged pods, strict rp_filter, invalid dropped', 1200),
  netns('policy', '*(routed)', 1200),
  packet('local', '*is used again*'),
  packet('direct', '*'),
  packet('least', '*'),
  packet('decapsulation', 'options that make no sense*'),
  packet('takeover', '*'),
  packet('tunnel-to-node', '*'),
  SCTP,
  own('vlan-story', 'nodes on a VLAN of a trunk serve their clients', 1800),
];

const IPVS: readonly Story[] = [
  netns('services', '*: nat, routed pods, strict rp_filter', 1200),
  netns('services', '*: nat, bridged pods, strict rp_filter, invalid dropped', 1200),
  netns('services', '*: dsr, routed pods, strict rp_filter', 1200, true),
  netns('services', '*: dsr, bridged pods, no rp_filter', 1200),
  netns('services', '5 MB go both ways*', 1800),
  netns('services', 'a service without endpoints refuses*', 1200, true),
  netns('services', 'a port that no pod listens on*', 1800),
  netns('resilience', '*', 7200),
  netns('drain', '*', 7200),
  netns('verdicts', '*', 3600),
  netns('addresses', '*', 1800),
  netns('fragments', '*', 1800),
  netns('l2', '*', 1800),
  netns('host', 'a process of the host reaches*', 1800),
  netns('host', 'a backend on the host network*', 1800),
  netns('health', 'a load balancer finds*', 1800),
  netns('policy', '*(routed)', 1800),
  netns('policy', '*(bridge)', 1800),
  netns('grid', 'what the sockets see*: routed pods', 5400),
  own('ipvs-story', 'backends end, other hands meddle', 1800),
  own('limits-story', 'addresses that are not ours, what the kernel lacks, pods that nobody knows', 1800),
  SCTP,
];

const TAKEOVER = own(
  'takeover-story',
  'one dataplane takes over from the other, and back, under live connections',
  1800,
);

const TUNNELS = own('tunnels-story', 'flows through tunnels outlive a change of dataplane', 1800);

const on = (dataplane: string, stories: readonly Story[]): (Story & { readonly dataplane: string })[] =>
  stories.map((story) => ({ ...story, dataplane }));
/** BPF needs 6.1. Processes of the host are in a cgroup that 5.10 cannot kill. */
const KERNELS = {
  '6.12': [...on('bpf', [...BPF, TAKEOVER, TUNNELS]), ...on('ipvs', IPVS)],
  '6.1': [...on('bpf', [...BPF, TAKEOVER, TUNNELS]), ...on('ipvs', IPVS)],
  '5.10': on(
    'ipvs',
    IPVS.filter(({ name }) => !name.startsWith('host')),
  ),
} as const;

const asked = process.env['WEIR_KERNELS']?.split(',');
const machines: Machine[] = [];
test.after.always(() => machines.forEach((machine) => machine[Symbol.dispose]()));

for (const [version, all] of Object.entries(KERNELS)) {
  if (asked ? !asked.includes(version) : version !== '6.12') continue;
  const stories = asked ? all : all.filter(({ short }) => short);
  let machine: Machine | undefined;
  stories.forEach(({ dataplane, name, limit }, index) => {
    test.serial(`Linux ${version}, ${dataplane}: ${name}`, async (t) => {
      t.timeout((limit + BOOT) * 1000);
      t.is(missing(), '', 'this machine can run another');
      if (!machine) machines.push((machine = Machine.boot(fetchKernel(version), stories.map(toCommand))));
      const { status, output } = await machine.outcome(index);
      t.is(status, 0, output);
    });
  });
}

function toCommand({ command, limit, dataplane }: (typeof KERNELS)['6.12'][number]): Command {
  const environment = { WEIR_PROGRAM: PROGRAM, WEIR_TIME_FACTOR: `${TIME_FACTOR}`, WEIR_DATAPLANE: dataplane };
  return { words: command, environment, limit };
}
