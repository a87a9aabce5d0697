/** What a change of policy costs where nftables enforces it, in a network namespace of its own: one peer among many comes or goes. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { PolicyCompiler } from '../src/core/policy/compiler.js';
import { PolicyObjects } from '../src/core/policy/objects.js';
import { PolicyTables } from '../src/ipvs/policy-tables.js';
import { percentiles, type Timing } from './control.js';
import { podOf, policyOf } from './policy.js';

const PEERS = 10_000;
const CHANGES = 100;
const ROLES = { uplinks: [], pods: [], bridges: [], missing: [] };

/** ms from a changed label of a pod to the changed set. */
export function benchNft(): Timing[] {
  const space = `weir-bench-${process.pid}`;
  execFileSync('ip', ['netns', 'add', space]);
  try {
    const args = ['netns', 'exec', space, process.execPath, fileURLToPath(import.meta.url)];
    const times = JSON.parse(execFileSync('ip', args, { encoding: 'utf8' })) as { first: number; changes: number[] };
    return [
      { what: `nftables: a policy that lets in ${PEERS} peers`, ...percentiles([times.first]), target: '' },
      { what: 'nftables: one of them comes or goes', ...percentiles(times.changes), target: '' },
    ];
  } finally {
    execFileSync('ip', ['netns', 'del', space]);
  }
}

function measure(): { first: number; changes: number[] } {
  const objects = new PolicyObjects();
  const app = (name: string) => [{ key: 'app', operator: 'In' as const, values: [name] }];
  const put = (index: number, name: string): void => {
    objects.apply({ op: 'set', resource: { ...podOf(index), labels: { app: name } } });
  };
  put(0, 'web');
  for (let i = 1; i <= PEERS; i++) put(i, 'friend');
  const ingress = [{ peers: [{ kind: 'pods' as const, pods: app('friend') }], ports: [] }];
  objects.apply({ op: 'set', resource: policyOf('web', { podSelector: app('web'), ingress }) });
  const compiler = new PolicyCompiler(objects, { nodeName: 'bench', denyAction: 'drop' });
  const options = { keepEstablished: false, denyUnknown: false, log: false, takeoverGrace: 0 };
  const tables = new PolicyTables(options, new Map());
  const enforce = (): number => {
    const started = performance.now();
    compiler.update();
    if (tables.enforce(compiler.state, ROLES) === 0) throw new Error('nothing has changed');
    return performance.now() - started;
  };
  const first = enforce();
  const changes = Array.from({ length: CHANGES }, (_, i) => {
    put(1 + (i >> 1), i % 2 === 0 ? 'stranger' : 'friend');
    return enforce();
  });
  return { first, changes };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(JSON.stringify(measure()));
