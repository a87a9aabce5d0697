/** The files of deploy/ without anything running: schema, permissions, arguments, references. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { Command } from 'commander';
import { parseDocument } from 'yaml';
import { AGENT_FLAGS, agentOptions } from '../../src/cli/agent-flags.js';
import { addFlags, type Values } from '../../src/cli/flags.js';
import type { AgentOptions } from '../../src/options.js';
import { API_RESOURCES } from '../../src/watch/kubernetes.js';
import { KubeApiserver } from '../helpers/kube-apiserver.js';
import { contextOf } from '../unit/cli-context.js';
import {
  agentContainer,
  CHECKOUT,
  CLEANUP_YAML,
  cleanupContainer,
  type Container,
  type DaemonSet,
  documents,
  expandedArgs,
  type Manifest,
  only,
  WEIR_YAML,
} from './manifests.js';
import { problemsOf } from './schema.js';

const FILES = [WEIR_YAML, CLEANUP_YAML];

/** `rbac.authorization.k8s.io/v1 ClusterRole` is V1ClusterRole. */
function typeOf({ apiVersion, kind }: Manifest): string {
  const version = apiVersion.split('/').at(-1) ?? '';
  return `${version.charAt(0).toUpperCase()}${version.slice(1)}${kind}`;
}

for (const file of FILES) {
  test(`every field of ${file} is one that the API has, of the right type, and none that must be there is missing`, (t) => {
    for (const document of documents(file)) t.deepEqual(problemsOf(typeOf(document), document, document.kind), []);
  });
}

test('a misspelt field, a wrong type and a missing field are found wherever they are', (t) => {
  const text = JSON.stringify(only(WEIR_YAML, 'DaemonSet'));
  const broken = text
    .replace('"hostNetwork"', '"hostNetwrk"')
    .replace('"port":10256', '"port":true')
    .replace('"allowPrivilegeEscalation":false', '"allowPrivilegeEscalation":"no"')
    .replace('"image":"weir', '"imagePullPolicy":"weir')
    .replace('"name":"weir","image', '"image');
  const pod = 'DaemonSet.spec.template.spec';
  t.deepEqual(
    problemsOf('V1DaemonSet', JSON.parse(broken), 'DaemonSet').sort(),
    [
      `${pod}.containers[0].name is missing`,
      `${pod}.containers[0].securityContext.allowPrivilegeEscalation is not of type boolean`,
      `${pod}.containers[0].startupProbe.httpGet.port is not of type IntOrString`,
      `${pod}.hostNetwrk is no field of V1PodSpec`,
    ].sort(),
  );
});

test('the service account may list and watch exactly what the agent lists and watches, and write Events', (t) => {
  const { rules } = only(WEIR_YAML, 'ClusterRole');
  const granted = rules.flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) => verbs.map((verb) => `${verb} ${[resource, group].filter(Boolean).join('.')}`)),
    ),
  );
  const used = API_RESOURCES.flatMap(({ resource }) => ['list', 'watch'].map((verb) => `${verb} ${resource}`));
  const written = ['create events.events.k8s.io', 'patch events.events.k8s.io'];
  t.deepEqual(granted.sort(), [...used, ...written].sort());
});

test('the permissions reach the account that the pods run as', (t) => {
  const account = only(WEIR_YAML, 'ServiceAccount').metadata;
  const binding = only(WEIR_YAML, 'ClusterRoleBinding');
  const { name } = only(WEIR_YAML, 'ClusterRole').metadata;
  t.deepEqual(binding.roleRef, { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name });
  t.deepEqual(binding.subjects, [{ kind: 'ServiceAccount', name: account.name, namespace: account.namespace ?? '' }]);
  t.is(only(WEIR_YAML, 'DaemonSet').spec.template.spec.serviceAccountName, account.name);
});

/** What the agent would make of these arguments. */
function parsed(args: readonly string[], env: Record<string, string>): AgentOptions {
  const command = new Command().exitOverride().configureOutput({ writeErr: () => undefined });
  addFlags(command, AGENT_FLAGS);
  command.parse([...args], { from: 'user' });
  const nowhere = { write: () => true };
  return agentOptions(command.opts<Values<typeof AGENT_FLAGS>>(), contextOf(nowhere, nowhere, { env }));
}

test('the agent accepts its arguments once the API server is filled in', (t) => {
  const [command, ...args] = expandedArgs(agentContainer(), { WEIR_APISERVER: '10.0.0.1:6443,[fd00::2]:6443' });
  t.is(command, 'agent');
  t.true(args.includes('--dataplane=bpf'));
  const options = parsed(args, { NODE_NAME: 'node-a' });
  t.deepEqual(options.apiservers, ['10.0.0.1:6443', '[fd00::2]:6443']);
  t.is(options.nodeName, 'node-a');
  t.is(options.manifests ?? options.kubeconfig, undefined, 'the objects come from the cluster');
});

test('an API server that is not filled in is refused at once, by the name of the flag', (t) => {
  const { data } = only(WEIR_YAML, 'ConfigMap');
  const [, ...args] = expandedArgs(agentContainer(), { WEIR_APISERVER: data['apiserver'] ?? '' });
  t.throws(() => parsed(args, {}), { message: /^--apiserver: "<HOST:PORT>" is not HOST:PORT/ });
});

test('every variable comes from somewhere: the node from the downward API, the API server from the ConfigMap', (t) => {
  const map = only(WEIR_YAML, 'ConfigMap');
  const env = new Map((agentContainer().env ?? []).map((variable) => [variable.name, variable]));
  t.is(env.get('NODE_NAME')?.valueFrom?.fieldRef?.fieldPath, 'spec.nodeName');
  const reference = env.get('WEIR_APISERVER')?.valueFrom?.configMapKeyRef;
  t.is(reference?.name, map.metadata.name);
  t.true((reference?.key ?? '') in map.data);
  for (const argument of agentContainer().args ?? []) {
    for (const [, name = ''] of argument.matchAll(/\$\((\w+)\)/g)) t.true(env.has(name), name);
  }
});

test('the probes ask where the agent answers', (t) => {
  const [, ...args] = expandedArgs(agentContainer(), { WEIR_APISERVER: '' });
  const { health } = parsed(args, {});
  const { startupProbe, livenessProbe, readinessProbe } = agentContainer();
  const asked = [startupProbe, livenessProbe, readinessProbe].map((probe) => probe?.httpGet);
  t.deepEqual(
    asked.map((get) => get?.path),
    ['/livez', '/livez', '/readyz'],
  );
  for (const get of asked) t.deepEqual([get?.host, get?.port], ['127.0.0.1', health?.port]);
});

for (const [file, container] of [
  [WEIR_YAML, agentContainer()],
  [CLEANUP_YAML, cleanupContainer()],
] as const) {
  test(`${file} asks for no privileged container, and for the directories that its arguments name`, (t) => {
    const { spec } = only(file, 'DaemonSet');
    const pod = spec.template.spec;
    t.deepEqual(spec.selector.matchLabels, spec.template.metadata.labels);
    t.true(pod.hostNetwork);
    for (const { securityContext } of [...(pod.initContainers ?? []), ...pod.containers]) {
      t.false(securityContext.privileged ?? false);
      t.false(securityContext.allowPrivilegeEscalation);
      t.deepEqual(securityContext.capabilities.drop, ['ALL']);
    }
    const cgroup = container.args?.find((argument) => argument.startsWith('--cgroup='))?.slice('--cgroup='.length);
    t.deepEqual(mounted(container, pod.volumes), {
      '/sys/fs/bpf': '/sys/fs/bpf',
      '/host/proc/sys/net': '/proc/sys/net',
      ...(cgroup === undefined ? {} : { [cgroup]: '/sys/fs/cgroup' }),
    });
    t.is(cgroup !== undefined, file === WEIR_YAML);
    t.true(container.args?.includes('--bpf-root=/sys/fs/bpf/weir'));
    t.is(container.env?.find(({ name }) => name === 'WEIR_PROC_SYS')?.value, '/host/proc/sys');
  });
}

function mounted(container: Container, volumes: DaemonSet['spec']['template']['spec']['volumes']): object {
  const paths = (container.volumeMounts ?? []).map(({ name, mountPath }) => [
    mountPath,
    volumes.find((volume) => volume.name === name)?.hostPath.path,
  ]);
  return Object.fromEntries(paths) as object;
}

test('all manifests and the Dockerfile name the version of package.json', (t) => {
  const { version } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8')) as { version: string };
  const texts = [...FILES, 'Dockerfile'].map((file) => readFileSync(join(CHECKOUT, file), 'utf8'));
  for (const text of texts) {
    const images = [...text.matchAll(/\bweir:(\d[\w.-]*)/g)].map(([, tag]) => tag);
    t.true(images.length > 0);
    t.deepEqual(
      images.filter((tag) => tag !== version),
      [],
    );
  }
});

test('the workflow is YAML without mistakes and runs the checks and the tests', (t) => {
  const document = parseDocument(readFileSync(join(CHECKOUT, '.github/workflows/ci.yaml'), 'utf8'));
  t.deepEqual(document.errors, []);
  const { jobs } = document.toJS() as { jobs: Record<string, { 'runs-on': string; steps: { run?: string }[] }> };
  const commands = Object.values(jobs).flatMap(({ steps }) => steps.flatMap(({ run = '' }) => run.split('\n')));
  t.true(commands.some((command) => /make check test\b/.test(command)));
});

const assets = process.env['KUBEBUILDER_ASSETS'];

test('a real API server takes the manifests, and the account may do what the agent does and no more', async (t) => {
  if (!assets) {
    t.log('KUBEBUILDER_ASSETS names no folder with etcd, kube-apiserver and kubectl: nothing was tested here');
    t.pass();
    return;
  }
  t.timeout(180_000);
  const server = await KubeApiserver.start(assets);
  t.teardown(() => server.close());
  for (const file of FILES) await server.kubectl(['apply', '--validate=strict', '-f', join(CHECKOUT, file)]);
  const may = (verb: string, resource: string): Promise<boolean> => {
    const as = ['--as', 'system:serviceaccount:kube-system:weir', '--all-namespaces'];
    return server.kubectl(['auth', 'can-i', verb, resource, ...as]).then(
      () => true,
      () => false,
    );
  };
  for (const { resource } of API_RESOURCES) {
    t.true((await may('list', resource)) && (await may('watch', resource)), resource);
    t.false(await may('update', resource), resource);
  }
  t.false(await may('list', 'secrets'));
});
