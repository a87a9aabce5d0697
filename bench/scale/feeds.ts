/** Where the objects of a scale run come from: a folder of manifests, or an API server stand-in on the agent's node. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Node } from '../../test/netns/world.js';
import { type ClusterSize, ENDPOINTS, nodeObject, type Raw, serviceObject, sliceObject, toYaml } from './cluster.js';
import { monotonic } from './process.js';
import type { ServerAnswer, ServerCommand } from './server.js';

export interface Feed extends AsyncDisposable {
  /** Flags that lead an agent to it. */
  readonly flags: readonly string[];
  /** Lets a service have so many endpoints; returns the moment of the event (monotonic ms). */
  change(service: number, count: number): Promise<number>;
  /** Delivers so many objects once more as they are. */
  repeat(count: number): Promise<void>;
}

/** `files`: over how many files the services are spread. */
export function folderFeed(node: Node, cluster: ClusterSize, files: number): Feed {
  const { manifests } = node.world;
  const counts = new Array<number>(cluster.services).fill(ENDPOINTS);
  const perFile = Math.ceil(cluster.services / files);
  const write = (name: string, documents: readonly Raw[]): number => {
    const path = join(manifests, name);
    writeFileSync(`${path}.tmp`, documents.map((object) => `---\n${toYaml(object)}`).join(''));
    renameSync(`${path}.tmp`, path);
    return monotonic();
  };
  const writeFile = (file: number): number => {
    const documents: Raw[] = [];
    const end = Math.min(cluster.services, (file + 1) * perFile);
    for (let index = file * perFile; index < end; index++)
      documents.push(serviceObject(index), sliceObject(index, counts[index] ?? 0, cluster));
    return write(`services-${file}.yaml`, documents);
  };
  write(
    'nodes.yaml',
    Array.from({ length: cluster.nodes }, (_, index) => nodeObject(index)),
  );
  for (let file = 0; file < files; file++) writeFile(file);
  return {
    flags: ['--manifests', manifests],
    change: (service, count) => {
      counts[service] = count;
      return Promise.resolve(writeFile(Math.floor(service / perFile)));
    },
    repeat: (count) => {
      for (let file = 0; file < Math.ceil(count / perFile); file++) writeFile(file);
      return Promise.resolve();
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

export async function serverFeed(node: Node, cluster: ClusterSize): Promise<Feed> {
  const script = fileURLToPath(new URL('./server.js', import.meta.url));
  const child = spawn('ip', ['netns', 'exec', node.space, process.execPath, script, `${cluster.services}`], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const { port } = await answerOf(child);
  const path = join(node.world.directory, 'kubeconfig');
  const context = { name: 'scale', context: { cluster: 'scale', user: 'scale' } };
  const server = `http://127.0.0.1:${port}`;
  const config = { clusters: [{ name: 'scale', cluster: { server } }], users: [{ name: 'scale', user: {} }] };
  writeFileSync(path, JSON.stringify({ ...config, contexts: [context], 'current-context': 'scale' }));
  const tell = (command: ServerCommand): Promise<ServerAnswer> => {
    child.send(command);
    return answerOf(child);
  };
  return {
    flags: ['--kubeconfig', path],
    change: async (slice, count) => (await tell({ slice, count })).at,
    repeat: async (repeat) => {
      await tell({ repeat });
    },
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'exit');
      child.disconnect();
      await ended;
    },
  };
}

async function answerOf(child: ChildProcess): Promise<ServerAnswer> {
  const [answer] = (await once(child, 'message')) as [ServerAnswer];
  return answer;
}
