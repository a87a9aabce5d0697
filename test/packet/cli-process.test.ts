import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createMap, pin } from '../../src/loader/kernel-map.js';
import { closeFd } from '../../src/loader/libbpf.js';
import { listPins } from '../../src/loader/pins.js';
import { MAPS } from '../../src/maps/layout.js';
import { rawService, rawSlice } from '../helpers/samples.js';
import { bpffs, run } from './loader-world.js';

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let nodes = 0;

/** A network namespace with an uplink up0, a bpf file system and manifests; gone after the test, its agents first. */
class Node {
  readonly name = `weir-cli-${process.pid}-${nodes++}`;
  readonly root: string;
  readonly manifests: string;
  readonly #t: ExecutionContext;

  constructor(t: ExecutionContext) {
    this.#t = t;
    this.root = bpffs(t);
    this.manifests = mkdtempSync(join(tmpdir(), 'weir-manifests-'));
    t.teardown(() => rmSync(this.manifests, { recursive: true }));
    const items = [rawService('web', 10, { externalIPs: ['203.0.113.7'] }), rawSlice('web', ['10.244.1.5'])];
    writeFileSync(join(this.manifests, 'objects.json'), JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    run('ip', 'netns', 'add', this.name);
    t.teardown(() => run('ip', 'netns', 'del', this.name));
    this.run('ip', 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'out0');
    for (const device of ['up0', 'out0']) this.run('ip', 'link', 'set', device, 'up');
    this.run('ip', 'addr', 'add', '198.51.100.1/24', 'dev', 'up0');
    this.run('ip', 'route', 'add', 'default', 'via', '198.51.100.254');
    this.run('sysctl', '-qw', 'net.ipv4.ip_forward=0');
  }

  run(...command: string[]): string {
    return run('ip', 'netns', 'exec', this.name, ...command);
  }

  weir(...args: string[]): Result {
    const all = ['netns', 'exec', this.name, 'bin/weir', ...args, '--bpf-root', this.root];
    const { status, stdout, stderr } = spawnSync('ip', all, { encoding: 'utf8' });
    return { code: status, stdout, stderr };
  }

  agentFlags(): string[] {
    return ['agent', '--manifests', this.manifests, '--node-name', 'node-1', '--flow-entries', '1024,1024'];
  }

  /** Starts an agent; returns once it has synced. */
  agent(...flags: string[]): ChildProcess {
    const args = ['netns', 'exec', this.name, 'bin/weir', ...this.agentFlags(), ...flags, '--bpf-root', this.root];
    const child = spawn('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let log = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
    const ended = once(child, 'exit');
    this.#t.teardown(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    if (this.weir('status', '--wait', '20s').code !== 0) throw new Error(`the agent has not synced: ${log}`);
    return child;
  }

  /** Everything that an agent leaves on a node. */
  traces(): { pins: string[]; filters: string; forwarding: string; link: string } {
    const filters =
      this.run('tc', 'filter', 'show', 'dev', 'up0', 'ingress') + this.run('tc', 'qdisc', 'show', 'dev', 'up0');
    const link = this.run('ip', 'link', 'show', 'up0');
    return {
      pins: listPins(this.root),
      filters,
      forwarding: this.run('cat', '/proc/sys/net/ipv4/ip_forward').trim(),
      link,
    };
  }
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  const exit = once(child, 'exit') as Promise<[number | null]>;
  child.kill(signal);
  return (await exit)[0];
}

test.serial(
  'an agent that is told to end does so at once, leaves the dataplane, and diff agrees with it alive and dead',
  async (t) => {
    const node = new Node(t);
    const agent = node.agent('--forwarding', 'dsr', '--devices', 'up0');
    const diff = ['diff', '--manifests', node.manifests, '--node-name', 'node-1'];
    t.deepEqual(node.weir(...diff), { code: 0, stdout: '', stderr: '' }, 'with the flags of the running agent');
    const before = node.traces();
    const started = Date.now();
    t.is(await ended(agent, 'SIGTERM'), 0);
    t.true(Date.now() - started < 5000);
    t.deepEqual(node.traces(), before);
    t.deepEqual(node.weir(...diff, '--forwarding', 'dsr'), { code: 0, stdout: '', stderr: '' });
    t.is(node.weir(...diff).code, 1, 'without an agent its flags are not known');
    t.is(node.weir('status').code, 1);
    t.regex(node.weir('service', 'list').stdout, /^TCP 203\.0\.113\.7:80 ExternalIP shop\/web:80 maglev dsr$/m);
  },
);

test.serial('one agent at a time uses a directory, and cleanup keeps its hands off', (t) => {
  const node = new Node(t);
  const agent = node.agent();
  const pid = String(agent.pid);
  const before = node.traces();
  const second = node.weir(...node.agentFlags());
  t.is(second.code, 1);
  t.regex(second.stderr, new RegExp(`the agent with pid ${pid} uses it \\[WEIR_ALREADY_RUNNING\\]`));
  for (const args of [['cleanup'], ['cleanup', '--dry-run']]) {
    const refused = node.weir(...args);
    t.deepEqual([refused.code, refused.stdout], [1, '']);
    t.is(refused.stderr, `weir: clean up ${node.root}: the agent with pid ${pid} uses it: stop it first\n`);
  }
  t.deepEqual(node.traces(), before);
  t.is(node.weir('status').code, 0);
});

test.serial('a dry run names what cleanup then removes, and changes nothing', async (t) => {
  const node = new Node(t);
  const clean = node.traces();
  await ended(node.agent('--xdp', 'native'), 'SIGKILL');
  const before = node.traces();
  const dry = node.weir('cleanup', '--dry-run');
  t.is(dry.code, 0);
  t.deepEqual(node.traces(), before);
  const real = node.weir('cleanup');
  t.is(real.code, 0);
  t.is(real.stdout, dry.stdout.replace(/^would remove/gm, 'removed').replace(/^would restore/gm, 'restored'));
  for (const what of ['weir_up_in from up0 ingress', 'weir_up_out from up0 egress', 'weir_xdp from up0', node.root]) {
    t.true(real.stdout.includes(`removed ${what}\n`), what);
  }
  t.true(real.stdout.includes('restored net/ipv4/ip_forward=0\n'));
  t.deepEqual(node.traces(), clean);
  t.false(existsSync(node.root));
  t.deepEqual(node.weir('cleanup'), { code: 0, stdout: `nothing to remove below ${node.root}\n`, stderr: '' });
});

test.serial('cleanup leaves the filters, pins and settings of others', async (t) => {
  const node = new Node(t);
  await ended(node.agent(), 'SIGKILL');
  node.run('tc', 'filter', 'add', 'dev', 'up0', 'ingress', 'prio', '7', 'bpf', 'bytecode', '1,6 0 0 0');
  node.run('sysctl', '-qw', 'net.ipv6.conf.up0.accept_ra=0');
  mkdirSync(join(node.root, 'others'));
  t.teardown(() => rmdirSync(node.root));
  t.teardown(() => rmdirSync(join(node.root, 'others')));
  const { code, stdout } = node.weir('cleanup');
  t.is(code, 0);
  t.true(stdout.includes('leave net/ipv6/conf/up0/accept_ra=0: it is not the 2 that Weir set\n'));
  t.true(existsSync(join(node.root, 'others')));
  const { filters, pins } = node.traces();
  t.regex(filters, /pref 7 bpf/);
  t.notRegex(filters, /weir_/);
  t.deepEqual(pins, []);
});

test.serial('cleanup finds the network namespace in which the dataplane works', async (t) => {
  const node = new Node(t);
  await ended(node.agent(), 'SIGKILL');
  const { status, stdout } = spawnSync('bin/weir', ['cleanup', '--bpf-root', node.root], { encoding: 'utf8' });
  t.is(status, 0);
  t.regex(
    stdout,
    new RegExp(`^in the network namespace /run/netns/${node.name}:\nremoved weir_up_in from up0 ingress\n`),
  );
  t.notRegex(node.traces().filters, /weir_|clsact/);
});

test.serial('cleanup removes maps of another layout', async (t) => {
  const node = new Node(t);
  await ended(node.agent(), 'SIGKILL');
  for (const { name, type, keySize, valueSize, flags } of [MAPS.weir_config, MAPS.weir_sysctls]) {
    unlinkSync(join(node.root, name));
    const fd = createMap(name, { type, keySize, valueSize: valueSize + 8, maxEntries: 1, flags });
    pin(fd, join(node.root, name));
    closeFd(fd);
  }
  const { code, stdout } = node.weir('cleanup');
  t.is(code, 0);
  t.regex(
    stdout,
    /^leave the kernel settings: open table weir_sysctls: valueSize is 40 in the kernel and 32 in this program/m,
  );
  t.false(existsSync(node.root));
  t.notRegex(node.traces().filters, /weir_/);
});

test.serial('programs that no pins account for are left and named, unless cleanup is told to take all', async (t) => {
  const node = new Node(t);
  await ended(node.agent(), 'SIGKILL');
  for (const name of listPins(node.root)) unlinkSync(join(node.root, name));
  rmdirSync(node.root);
  const left = node.weir('cleanup');
  t.is(left.code, 0);
  t.regex(left.stdout, /^leave weir_up_in from up0 ingress: nothing below .* accounts for it; .*--all$/m);
  t.regex(node.traces().filters, /weir_up_in/);
  t.is(
    node.weir('cleanup', '--all').stdout,
    'removed weir_up_in from up0 ingress\nremoved weir_up_out from up0 egress\n',
  );
  t.notRegex(node.traces().filters, /weir_|clsact/);
});

test.serial('without the right to read the pins, the missing capabilities are named', (t) => {
  const node = new Node(t);
  mkdirSync(node.root, { mode: 0o700 });
  t.teardown(() => rmdirSync(node.root));
  const bare = ['--reuid', '65534', '--clear-groups', '--inh-caps=-all', process.execPath, 'bin/weir'];
  const all = [...bare, 'service', 'list', '--bpf-root', node.root];
  const { status, stderr } = spawnSync('setpriv', all, { encoding: 'utf8' });
  t.is(status, 1);
  t.regex(stderr, /^weir: open .*, missing CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF \[WEIR_CAPABILITY\]: .*\n$/);
});

test.serial('an agent that cannot start says why in one line and leaves nothing', (t) => {
  const node = new Node(t);
  const clean = node.traces();
  const wrong = node.weir(...node.agentFlags(), '--devices', 'eth7');
  t.is(wrong.code, 1);
  t.is(
    wrong.stderr,
    'weir: use --devices eth7: no such device [WEIR_DEVICE]: check the device name with ip link, or give --devices\n',
  );
  t.deepEqual(node.traces(), clean);
});
