/** The containers of deploy/ started from the image's files with exactly their arguments, capabilities and volumes. */
import test, { type ExecutionContext } from 'ava';
import { type Image, makeImage } from './image.js';
import { agentContainer, cleanupContainer, type Container, expandedArgs, isRoot } from './manifests.js';
import { type ContainerOptions, Place, type RunningContainer } from './place.js';

const AGENT = agentContainer();
const CLEANUP = cleanupContainer();

let image: Image | undefined;
test.after.always(() => image?.[Symbol.dispose]());

function place(t: ExecutionContext): Place {
  image ??= makeImage();
  const made = new Place(image.root);
  t.teardown(() => made[Symbol.asyncDispose]());
  return made;
}

function capabilitiesOf(container: Container): readonly string[] {
  return container.securityContext.capabilities.add ?? [];
}

/** As the manifest has it, but with a folder in place of an API server, and native XDP also on a veth. */
function startAgent(on: Place, changes: Partial<ContainerOptions> = {}): RunningContainer {
  const args = expandedArgs(AGENT, { WEIR_APISERVER: '10.0.0.1:6443' });
  const env = { NODE_NAME: 'node-a', WEIR_PROC_SYS: valueOf(AGENT, 'WEIR_PROC_SYS') };
  const capabilities = capabilitiesOf(AGENT);
  return on.start([...args, '--manifests=/manifests', '--xdp=native'], { capabilities, env, ...changes });
}

function valueOf(container: Container, name: string): string {
  return container.env?.find((variable) => variable.name === name)?.value ?? '';
}

/** As nodes usually are: the container network has switched forwarding on. */
function forward(on: Place): void {
  on.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
  for (const device of ['all', 'default', 'eth0', 'far', 'vethpod', 'near']) {
    on.run('sysctl', '-qw', `net.ipv6.conf.${device}.accept_ra=2`);
  }
}

const PROBE = `fetch(process.argv[1]).then((answer) => console.log(answer.status), (error) => console.log(error.cause.code))`;

function answerTo(on: Place, probe: Container['readinessProbe']): string {
  const { host = '', port = 0, path = '' } = probe?.httpGet ?? {};
  return on.run(process.execPath, '-e', PROBE, `http://${host}:${port}${path}`).trim();
}

test.serial(
  'with the capabilities of its manifest and no other the agent attaches native XDP and becomes ready',
  async (t) => {
    if (!isRoot(t)) return;
    const node = place(t);
    forward(node);
    const agent = startAgent(node);
    await agent.says(/synced services=1/);
    t.deepEqual(
      agent.capabilities(),
      capabilitiesOf(AGENT)
        .map((name) => `cap_${name.toLowerCase()}`)
        .sort(),
    );
    t.regex(agent.output, /attached device=eth0 role=uplink xdp=native/);
    t.regex(agent.output, /attached device=vethpod role=pod/);
    t.notRegex(agent.output, / (warn|error) (?!network policies)/);
    t.regex(node.run('ip', '-d', 'link', 'show', 'eth0'), /prog\/xdp id \d+/);
    for (const direction of ['ingress', 'egress']) {
      t.regex(node.run('tc', 'filter', 'show', 'dev', 'vethpod', direction), /weir_pod_/);
    }
    t.is(answerTo(node, AGENT.livenessProbe), '200');
    t.is(answerTo(node, AGENT.readinessProbe), '200');
    t.is(await agent.stop(), 0, 'and ends as process 1 of its container when it is told to');
  },
);

for (const left of capabilitiesOf(AGENT)) {
  test.serial(
    `without CAP_${left} the agent refuses to start and names it, so it is not granted in vain`,
    async (t) => {
      if (!isRoot(t)) return;
      const node = place(t);
      forward(node);
      const agent = startAgent(node, { capabilities: capabilitiesOf(AGENT).filter((name) => name !== left) });
      t.is(await agent.ended(), 1);
      t.regex(agent.output, new RegExp(`missing CAP_${left} \\[WEIR_CAPABILITY\\]`));
      t.deepEqual(node.pins(), []);
    },
  );
}

test.serial('what people ask in the pod needs no capability that the pod has not', async (t) => {
  if (!isRoot(t)) return;
  const node = place(t);
  forward(node);
  const agent = startAgent(node);
  await agent.says(/synced services=1/);
  const ask = ['status', 'service list', 'backend list', 'flow list', 'drops', 'diff --manifests=/manifests'];
  for (const command of ask) {
    const asked = node.start([...command.split(' '), '--bpf-root=/sys/fs/bpf/weir'], {
      capabilities: capabilitiesOf(AGENT),
      env: { NODE_NAME: 'node-a' },
    });
    t.is(await asked.ended(), 0, `${command}: ${asked.output}`);
  }
});

test.serial('the cleanup leaves nothing of Weir on the node, with the capabilities of its manifest', async (t) => {
  if (!isRoot(t)) return;
  const node = place(t);
  forward(node);
  const agent = startAgent(node);
  await agent.says(/synced services=1/);
  const clean = (): RunningContainer =>
    node.start(expandedArgs(CLEANUP, {}), {
      capabilities: capabilitiesOf(CLEANUP),
      env: { WEIR_PROC_SYS: valueOf(CLEANUP, 'WEIR_PROC_SYS') },
    });
  const early = clean();
  t.is(await early.ended(), 1, 'not while the agent runs');
  t.regex(early.output, /stop it first/);
  await agent.stop();
  t.deepEqual(node.pins(), ['weir'], 'the dataplane has outlived the agent');
  const cleanup = clean();
  t.is(await cleanup.ended(), 0, cleanup.output);
  t.deepEqual(node.pins(), []);
  t.notRegex(node.run('ip', '-d', 'link', 'show'), /prog\/xdp|clsact/);
  for (const device of ['eth0', 'vethpod']) t.is(node.run('tc', 'qdisc', 'show', 'dev', device, 'clsact'), '');
});

test.serial('a container that cannot write the settings of the node starts where they are right', async (t) => {
  if (!isRoot(t)) return;
  const node = place(t);
  forward(node);
  const agent = startAgent(node, { sysctl: false, env: { NODE_NAME: 'node-a' } });
  await agent.says(/synced services=1/);
  t.notRegex(agent.output, /set net\//);
});

test.serial('the agent sets what forwarding needs through the mount, and the cleanup takes it back', async (t) => {
  if (!isRoot(t)) return;
  const node = place(t);
  const agent = startAgent(node);
  await agent.says(/synced services=1/);
  t.regex(agent.output, /set net\/ipv4\/ip_forward=1 was=0/);
  t.is(node.run('sysctl', '-n', 'net.ipv4.ip_forward').trim(), '1');
  await agent.stop();
  const cleanup = node.start(expandedArgs(CLEANUP, {}), {
    capabilities: capabilitiesOf(CLEANUP),
    env: { WEIR_PROC_SYS: valueOf(CLEANUP, 'WEIR_PROC_SYS') },
  });
  t.is(await cleanup.ended(), 0, cleanup.output);
  t.is(node.run('sysctl', '-n', 'net.ipv4.ip_forward').trim(), '0');
});

test.serial('a setting that is wrong and cannot be written is named, and the agent goes on', async (t) => {
  if (!isRoot(t)) return;
  const node = place(t);
  const agent = startAgent(node, { sysctl: false, env: { NODE_NAME: 'node-a' } });
  await agent.says(/synced services=1/);
  t.regex(agent.output, / warn .*set net\/ipv4\/ip_forward=1.*EROFS/);
});
