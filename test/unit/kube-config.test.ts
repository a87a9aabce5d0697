import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { ApiClient } from '../../src/watch/api-client.js';
import { loadApiServers } from '../../src/watch/kube-config.js';

const DEADLINES = { connectMs: 1000, responseMs: 1000, silenceMs: 1000 };

async function kubeconfig(directory: string, server: string, cluster: object = {}): Promise<string> {
  const path = join(directory, `config-${Buffer.from(server).toString('hex')}`);
  const config = {
    'current-context': 'c',
    clusters: [{ name: 'c', cluster: { server, ...cluster } }],
    contexts: [{ name: 'c', context: { cluster: 'c' } }],
  };
  await writeFile(path, JSON.stringify(config));
  return path;
}

const replacements: readonly { name: string; server: string; apiserver: string; urls: string[] }[] = [
  {
    name: 'host and port',
    server: 'https://10.96.0.1:443',
    apiserver: '192.0.2.1:6443',
    urls: ['https://192.0.2.1:6443'],
  },
  {
    name: 'several, with spaces',
    server: 'https://a',
    apiserver: '192.0.2.1:6443, b:1',
    urls: ['https://192.0.2.1:6443', 'https://b:1'],
  },
  { name: 'an IPv6 address', server: 'https://a', apiserver: '[fd00::1]:6443', urls: ['https://[fd00::1]:6443'] },
  {
    name: 'a server with a path',
    server: 'https://a/k8s/clusters/c1',
    apiserver: 'b:1',
    urls: ['https://b:1/k8s/clusters/c1'],
  },
  { name: 'a plain server', server: 'http://a:8080', apiserver: 'b:1', urls: ['http://b:1'] },
];
for (const { name, server, apiserver, urls } of replacements) {
  test(`--apiserver replaces the address alone: ${name}`, async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'weir-config-'));
    t.teardown(() => rm(directory, { recursive: true }));
    const servers = await loadApiServers({ kubeconfig: await kubeconfig(directory, server), apiserver });
    t.deepEqual(
      servers.map((each) => each.url),
      urls,
    );
  });
}

test('outside a pod and without a kubeconfig the start is refused with what to give', async (t) => {
  const host = process.env['KUBERNETES_SERVICE_HOST'];
  delete process.env['KUBERNETES_SERVICE_HOST'];
  t.teardown(() => {
    if (host !== undefined) process.env['KUBERNETES_SERVICE_HOST'] = host;
  });
  const error = await t.throwsAsync(loadApiServers({}));
  t.like(error, { code: 'WEIR_API' });
  t.regex(error?.message ?? '', /--kubeconfig or --manifests/);
});

test('a certificate for kubernetes.default.svc is accepted at whatever address --apiserver gives, another one is not', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'weir-tls-'));
  const file = (name: string): string => join(directory, name);
  const subject = ['-subj', '/CN=api', '-addext', 'subjectAltName=DNS:kubernetes.default.svc'];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', file('key')];
  await promisify(execFile)('openssl', ['req', '-x509', '-days', '2', ...key, '-out', file('crt'), ...subject]);
  const server = createServer(
    { key: await readFile(file('key')), cert: await readFile(file('crt')) },
    (_request, response) => {
      response.end('{"kind":"APIVersions"}');
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(async () => {
    server.closeAllConnections();
    server.close();
    await rm(directory, { recursive: true });
  });
  const address: AddressInfo | string | null = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const ask = async (configured: string, apiserver?: string): Promise<unknown> => {
    const path = await kubeconfig(directory, configured, { 'certificate-authority': 'crt' });
    const client = new ApiClient(await loadApiServers({ kubeconfig: path, apiserver }), DEADLINES);
    return client.get('/api', {}, new AbortController().signal);
  };
  t.deepEqual(await ask('https://10.96.0.1:443', `127.0.0.1:${port}`), { kind: 'APIVersions' });
  t.deepEqual(await ask('https://api.example.org', `127.0.0.1:${port}`), { kind: 'APIVersions' });
  const refused = await t.throwsAsync(ask(`https://127.0.0.1:${port}`));
  t.regex(refused?.message ?? '', /altnames|127\.0\.0\.1/i);
});
