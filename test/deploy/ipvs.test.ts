/** The patch that makes the DaemonSet use IPVS: what comes out of it is a DaemonSet, and has what the agent needs. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { Command } from 'commander';
import { parse } from 'yaml';
import { AGENT_FLAGS, agentOptions } from '../../src/cli/agent-flags.js';
import { addFlags, type Values } from '../../src/cli/flags.js';
import { PACKAGES } from '../../src/ipvs/tools.js';
import { contextOf } from '../unit/cli-context.js';
import { CHECKOUT, type DaemonSet, only, WEIR_YAML } from './manifests.js';
import { run } from './place.js';
import { problemsOf } from './schema.js';

/** By which of its fields an element of a list is known to kubectl's strategic merge; a list without one is replaced. */
function keyOf(element: unknown): string | undefined {
  if (typeof element !== 'object' || element === null) return undefined;
  return ['mountPath', 'name'].find((field) => field in element);
}

function merged(to: unknown, patch: unknown): unknown {
  if (Array.isArray(to) && Array.isArray(patch)) {
    const key = keyOf(patch[0]) as never;
    if (key === undefined) return patch;
    const fresh = patch.filter((one: object) => !to.some((other: object) => other[key] === one[key]));
    const kept = to.map((one: object) => merged(one, patch.find((other: object) => other[key] === one[key]) ?? {}));
    return [...kept, ...(fresh as unknown[])];
  }
  if (typeof to !== 'object' || typeof patch !== 'object' || to === null || patch === null) return patch;
  const both = Object.entries(patch).map(([field, value]) => [
    field,
    field in to ? merged(to[field as never], value) : (value as unknown),
  ]);
  return { ...to, ...(Object.fromEntries(both) as object) };
}

const patch = parse(readFileSync(join(CHECKOUT, 'deploy/weir-ipvs.yaml'), 'utf8')) as unknown;
const before = only(WEIR_YAML, 'DaemonSet');
const after = merged(before, patch) as DaemonSet;
const [container] = after.spec.template.spec.containers;

test('the patched DaemonSet has only fields that the API has, and the same container', (t) => {
  t.deepEqual(problemsOf('V1DaemonSet', after, 'DaemonSet'), []);
  t.is(after.spec.template.spec.containers.length, 1);
  t.is(container?.image, before.spec.template.spec.containers[0]?.image);
});

test('its agent uses IPVS, with the same API server, health check and directory', (t) => {
  const command = new Command().exitOverride();
  addFlags(command, AGENT_FLAGS);
  const args = (container?.args ?? []).slice(1).map((text) => text.replace('$(WEIR_APISERVER)', '10.0.0.1:6443'));
  command.parse(args, { from: 'user' });
  const nowhere = { write: () => true };
  const options = agentOptions(command.opts<Values<typeof AGENT_FLAGS>>(), contextOf(nowhere, nowhere));
  t.like(options, { dataplane: 'ipvs', bpfRoot: '/sys/fs/bpf/weir', health: { port: 10256 } });
});

test('it keeps its state on the node, and every mount has a volume', (t) => {
  const { volumes } = after.spec.template.spec;
  const mounts = container?.volumeMounts ?? [];
  t.deepEqual(
    mounts.filter(({ name }) => !volumes.some((volume) => volume.name === name)),
    [],
  );
  for (const path of ['/run/weir', '/lib/modules', '/sys/fs/bpf', '/host/proc/sys/net'])
    t.true(
      mounts.some(({ mountPath }) => mountPath === path),
      path,
    );
});

test('the image has the programs that the agent runs, and what ipvsadm loads the module with', (t) => {
  const list = run(join(CHECKOUT, 'scripts/image-packages'), '--list').trim().split('\n');
  for (const name of [...Object.values(PACKAGES), 'kmod']) t.true(list.includes(name), name);
});
