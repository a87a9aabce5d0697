import test from 'ava';
import { Command } from 'commander';
import { AGENT_FLAGS, agentOptions } from '../../src/cli/agent-flags.js';
import { addFlags, type Values } from '../../src/cli/flags.js';
import type { AgentOptions } from '../../src/options.js';
import { collector, contextOf, weir } from './cli-context.js';

const REMEDY = ' [WEIR_USAGE]: run the command with --help to see its flags\n';

interface Wrong {
  readonly args: readonly string[];
  readonly line: string;
}

const WRONG: readonly Wrong[] = [
  { args: ['agent', '--dataplane', 'iptables'], line: '--dataplane: "iptables" is not one of bpf, ipvs' },
  { args: ['agent', '--xdp', 'fast'], line: '--xdp: "fast" is not one of auto, native, generic, off' },
  { args: ['agent', '--forwarding', 'lvs'], line: '--forwarding: "lvs" is not one of nat, dsr, dsr-l2' },
  { args: ['agent', '--scheduler', 'wlc'], line: '--scheduler: "wlc" is not one of maglev, rr, lc, sh, dh, random' },
  {
    args: ['agent', '--drain-timeout', 'soon'],
    line: '--drain-timeout: "soon" is not a duration such as 30s, 500ms or 5m',
  },
  { args: ['backend', 'drain'], line: "missing required argument 'NAMESPACE/NAME'" },
  { args: ['backend', 'drain', 'web'], line: 'backend drain: "web" is not NAMESPACE/NAME' },
  { args: ['backend', 'drain', 'shop/web', 'pod-1'], line: 'backend drain: "pod-1" is not an address' },
  { args: ['backend', 'drain', 'a/b', '10.0.0.1', 'c'], line: 'backend drain: unexpected argument "c"' },
  { args: ['agent', '--manifests', ''], line: '--manifests: "" is empty' },
  {
    args: ['agent', '--manifests', 'm', '--kubeconfig', 'k'],
    line: '--manifests: "m" does not go with --kubeconfig "k"',
  },
  { args: ['agent', '--node-name', 'a b'], line: '--node-name: "a b" contains white space' },
  { args: ['agent', '--devices', 'eth0,,eth1'], line: '--devices: "eth0,,eth1" has an empty entry' },
  {
    args: ['agent', '--devices', 'eth0,sixteen-letters-x'],
    line: '--devices: "eth0,sixteen-letters-x" has an entry "sixteen-letters-x" that is longer than the 15 characters of a device name',
  },
  { args: ['agent', '--pod-devices', 'veth/*'], line: '--pod-devices: "veth/*" is not a pattern of device names' },
  {
    args: ['agent', '--nodeport-addresses', 'first'],
    line: '--nodeport-addresses: "first" is not all, primary or ADDRESS/BITS',
  },
  {
    args: ['agent', '--dsr-sources', '10.0.0.0/33'],
    line: '--dsr-sources: "10.0.0.0/33" is not ADDRESS or ADDRESS/BITS',
  },
  { args: ['agent', '--cluster-cidr', 'pods'], line: '--cluster-cidr: "pods" is not ADDRESS or ADDRESS/BITS' },
  { args: ['agent', '--snat-ports', '61000'], line: '--snat-ports: "61000" is not A-B with ports from 1 to 65535' },
  { args: ['agent', '--snat-ports', '1-65536'], line: '--snat-ports: "1-65536" is not A-B with ports from 1 to 65535' },
  { args: ['agent', '--snat-ports', '9-8'], line: '--snat-ports: "9-8" ends before it begins' },
  {
    args: ['agent', '--flow-entries', '0'],
    line: '--flow-entries: "0" is not V4 or V4,V6 with counts from 1 to 67108864',
  },
  { args: ['agent', '--apiserver', 'kube'], line: '--apiserver: "kube" is not HOST:PORT' },
  { args: ['agent', '--health-bind-address', '10256'], line: '--health-bind-address: "10256" is not ADDRESS:PORT' },
  { args: ['agent', '--health-bind-address', '::1:80'], line: '--health-bind-address: "::1:80" is not ADDRESS:PORT' },
  { args: ['agent', '--run-service-proxy=maybe'], line: '--run-service-proxy: "maybe" is neither true nor false' },
  {
    args: ['agent', '--takeover-grace', 'long'],
    line: '--takeover-grace: "long" is not a duration such as 30s, 500ms or 5m',
  },
  {
    args: ['agent', '--service-cidr', '10.96.0.0/12,10.0.0.0/8'],
    line: '--service-cidr: "10.96.0.0/12,10.0.0.0/8" has two prefixes of one family',
  },
  { args: ['agent', '--bpf-root', ''], line: '--bpf-root: "" is empty' },
  { args: ['agent', '--devices'], line: "option '--devices <NAMES>' argument missing" },
  { args: ['agent', 'now'], line: 'agent: unexpected argument "now"' },
  { args: ['status', '--wait', '-1'], line: '--wait: "-1" is not a duration such as 30s, 500ms or 5m' },
  { args: ['service', 'list', '-o', 'yaml'], line: '--output: "yaml" is not one of json, table' },
  { args: ['flow', 'list', '--frontends=7'], line: "unknown option '--frontends=7'" },
  { args: ['cleanup', '--dry-run=perhaps'], line: '--dry-run: "perhaps" is neither true nor false' },
  { args: ['diff', '--xyz'], line: "unknown option '--xyz'" },
  { args: ['service', 'drop'], line: "unknown command 'drop'" },
  { args: ['service'], line: 'service: no command given, must be one of list' },
  { args: ['statsu'], line: "unknown command 'statsu' (Did you mean status?)" },
  { args: [], line: 'no command given' },
];

const refused = test.macro({
  exec: async (t, { args, line }: Wrong) => {
    t.deepEqual(await weir(args), { code: 2, stdout: '', stderr: `weir: ${line}${REMEDY}` });
  },
  title: (_: string | undefined, { args }: Wrong) => `'weir ${args.join(' ')}' is wrong usage, told in one line`,
});
for (const row of WRONG) test(refused, row);

function optionsOf(args: readonly string[], env: Record<string, string> = {}): AgentOptions {
  const command = new Command().exitOverride();
  addFlags(command, AGENT_FLAGS);
  command.parse(args, { from: 'user' });
  return agentOptions(command.opts<Values<typeof AGENT_FLAGS>>(), contextOf(collector(), collector(), { env }));
}

test('without flags the agent has the defaults of the contract', (t) => {
  t.deepEqual(optionsOf([]), {
    dataplane: 'bpf',
    bpfRoot: '/sys/fs/bpf/weir',
    nodeName: 'node-1',
    manifests: undefined,
    kubeconfig: undefined,
    apiservers: [],
    devices: [],
    podDevices: ['veth*', 'cali*', 'lxc*', 'eni*'],
    xdp: 'auto',
    forwarding: 'nat',
    scheduler: 'maglev',
    nodePortAddresses: 'all',
    dsrSources: [],
    clusterCidr: [],
    serviceCidr: [],
    masqueradeAll: false,
    serviceProxyName: '',
    snatPorts: { first: 61000, last: 65535 },
    runServiceProxy: true,
    runFirewall: true,
    denyAction: 'drop',
    defaultDenyUnknown: false,
    keepEstablished: false,
    health: { address: '0.0.0.0', port: 10256 },
    metrics: { address: '127.0.0.1', port: 10249 },
    cgroup: undefined,
    flowEntries: undefined,
    fastPath: true,
    drainTimeout: 300_000,
    takeoverGrace: 60_000,
  });
});

test('the node is named by the flag, else by NODE_NAME, else by the host', (t) => {
  t.is(optionsOf(['--node-name', 'a'], { NODE_NAME: 'b' }).nodeName, 'a');
  t.is(optionsOf([], { NODE_NAME: 'b' }).nodeName, 'b');
  t.is(optionsOf([], { NODE_NAME: '' }).nodeName, 'node-1');
});

interface Right {
  readonly args: readonly string[];
  readonly options: Record<string, unknown>;
}

const RIGHT: readonly Right[] = [
  { args: ['--devices', 'eth0, bond0.7'], options: { devices: ['eth0', 'bond0.7'] } },
  { args: ['--run-service-proxy=false'], options: { runServiceProxy: false } },
  { args: ['--run-service-proxy', '--run-firewall=false'], options: { runServiceProxy: true, runFirewall: false } },
  { args: ['--cgroup', '/sys/fs/cgroup'], options: { cgroup: '/sys/fs/cgroup' } },
  { args: ['--flow-entries', '4096'], options: { flowEntries: { v4: 4096, v6: 2048 } } },
  { args: ['--flow-entries', '4096,1024'], options: { flowEntries: { v4: 4096, v6: 1024 } } },
  { args: ['--snat-ports', '40000-40000'], options: { snatPorts: { first: 40000, last: 40000 } } },
  { args: ['--nodeport-addresses', 'primary'], options: { nodePortAddresses: 'primary' } },
  {
    args: ['--nodeport-addresses', '10.1.2.3/8,fd00::/64'],
    options: {
      nodePortAddresses: [
        { address: '10.0.0.0', bits: 8 },
        { address: 'fd00::', bits: 64 },
      ],
    },
  },
  { args: ['--dataplane', 'ipvs'], options: { dataplane: 'ipvs' } },
  { args: ['--dsr-sources', '192.0.2.1'], options: { dsrSources: [{ address: '192.0.2.1', bits: 32 }] } },
  { args: ['--health-bind-address', '[::]:80'], options: { health: { address: '::', port: 80 } } },
  { args: ['--health-bind-address', ''], options: { health: undefined } },
  { args: ['--metrics-bind-address', '[::1]:9000'], options: { metrics: { address: '::1', port: 9000 } } },
  { args: ['--metrics-bind-address', ''], options: { metrics: undefined } },
  {
    args: ['--apiserver', 'kube.test:6443,[fd00::1]:443'],
    options: { apiservers: ['kube.test:6443', '[fd00::1]:443'] },
  },
  { args: ['--masquerade-all'], options: { masqueradeAll: true } },
  { args: ['--forwarding', 'dsr-l2'], options: { forwarding: 'dsr-l2' } },
  { args: ['--service-proxy-name', 'weir'], options: { serviceProxyName: 'weir' } },
  { args: ['--cluster-cidr', '10.0.0.0/8'], options: { clusterCidr: [{ address: '10.0.0.0', bits: 8 }] } },
  {
    args: ['--service-cidr', '10.96.0.0/12,fd00:96::/112'],
    options: {
      serviceCidr: [
        { address: '10.96.0.0', bits: 12 },
        { address: 'fd00:96::', bits: 112 },
      ],
    },
  },
  {
    args: ['--takeover-grace', '90s', '--keep-established', '--default-deny-unknown', '--deny-action=reject'],
    options: { takeoverGrace: 90_000, keepEstablished: true, defaultDenyUnknown: true, denyAction: 'reject' },
  },
];

const understood = test.macro({
  exec: (t, { args, options }: Right) => {
    const found = optionsOf(args);
    for (const [name, value] of Object.entries(options)) t.deepEqual(found[name as keyof AgentOptions], value as never);
    t.pass();
  },
  title: (_: string | undefined, { args }: Right) => `the agent understands '${args.join(' ')}'`,
});
for (const row of RIGHT) test(understood, row);

const COMMANDS = [
  'agent',
  'status',
  'service list',
  'backend list',
  'endpoint list',
  'policy list',
  'flow list',
  'drops',
  'diff',
  'cleanup',
];
for (const command of COMMANDS) {
  test(`'weir ${command} --help' tells its flags and exit codes`, async (t) => {
    const { code, stdout } = await weir([...command.split(' '), '--help']);
    t.is(code, 0);
    t.regex(stdout, /--bpf-root <DIR>/);
    t.regex(stdout, /Exit codes:\n {2}0 {2}\S.*\n {2}1 {2}\S.*\n {2}2 {2}wrong usage/);
  });
}

test('the version is that of the package', async (t) => {
  t.deepEqual(await weir(['--version']), { code: 0, stdout: '0.1.0\n', stderr: '' });
});
