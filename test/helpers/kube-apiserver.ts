/** A real API server with its etcd on loopback, for as long as a test runs. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const ADMIN_TOKEN = 'admin-token';
const STARTS_WITHIN_MS = 90_000;

export class KubeApiserver {
  readonly #assets: string;
  readonly #directory: string;
  readonly #etcdPort: number;
  readonly port: number;
  #etcd: ChildProcess | undefined;
  #server: ChildProcess | undefined;
  #log = '';

  private constructor(assets: string, directory: string, ports: readonly number[]) {
    this.#assets = assets;
    this.#directory = directory;
    this.port = ports[0] ?? 0;
    this.#etcdPort = ports[1] ?? 0;
  }

  /** Starts both from the folder that holds etcd, kube-apiserver and kubectl, and waits until the server is ready. */
  static async start(assets: string): Promise<KubeApiserver> {
    const directory = await mkdtemp(join(tmpdir(), 'weir-apiserver-'));
    const server = new KubeApiserver(assets, directory, [await freePort(), await freePort()]);
    try {
      await server.#prepare();
      const peerPort = await freePort();
      server.#startEtcd(peerPort);
      await server.startServer();
      return server;
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  /** A kubeconfig for a bearer token; by default the administrator's. */
  async kubeconfig(token = ADMIN_TOKEN): Promise<string> {
    const path = join(this.#directory, `kubeconfig-${token}`);
    const cluster = {
      server: `https://127.0.0.1:${this.port}`,
      'certificate-authority': join(this.#directory, 'apiserver.crt'),
    };
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      clusters: [{ name: 'test', cluster }],
      users: [{ name: 'test', user: { token } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    };
    await writeFile(path, JSON.stringify(config));
    return path;
  }

  /** Runs kubectl as administrator. */
  async kubectl(args: readonly string[], input = ''): Promise<string> {
    const kubeconfig = await this.kubeconfig();
    return new Promise((resolve, reject) => {
      const child = execFile(
        join(this.#assets, 'kubectl'),
        ['--kubeconfig', kubeconfig, ...args],
        { timeout: 30_000 },
        (error, out, err) => {
          if (error) reject(new Error(`kubectl ${args.join(' ')}: ${err}`));
          else resolve(out);
        },
      );
      child.stdin?.end(input);
    });
  }

  async apply(...objects: readonly unknown[]): Promise<void> {
    await this.kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
  }

  /** Kills the API server without a chance to say goodbye. */
  async killServer(): Promise<void> {
    await kill(this.#server);
  }

  async startServer(): Promise<void> {
    const { port } = this;
    const file = (name: string): string => join(this.#directory, name);
    this.#server = this.#spawn('kube-apiserver', [
      `--etcd-servers=http://127.0.0.1:${this.#etcdPort}`,
      '--bind-address=127.0.0.1',
      '--advertise-address=127.0.0.1',
      `--secure-port=${port}`,
      // Without certificate files the server makes its own below this folder, valid for loopback.
      `--cert-dir=${this.#directory}`,
      `--token-auth-file=${file('tokens.csv')}`,
      '--authorization-mode=RBAC',
      '--service-cluster-ip-range=10.96.0.0/16',
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${file('sa.key')}`,
      `--service-account-signing-key-file=${file('sa.key')}`,
      '--disable-admission-plugins=ServiceAccount',
      '--endpoint-reconciler-type=none',
    ]);
    const deadline = Date.now() + STARTS_WITHIN_MS;
    while (!(await this.#ready())) {
      if (this.#server.exitCode !== null || Date.now() > deadline)
        throw new Error(`kube-apiserver does not become ready:\n${this.#log.slice(-4000)}`);
      await sleep(250);
    }
  }

  async close(): Promise<void> {
    await kill(this.#server);
    await kill(this.#etcd);
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #prepare(): Promise<void> {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    await writeFile(join(this.#directory, 'sa.key'), privateKey.export({ type: 'pkcs1', format: 'pem' }));
    await writeFile(
      join(this.#directory, 'tokens.csv'),
      `${ADMIN_TOKEN},admin,1,"system:masters"\nnobody-token,nobody,2\n`,
    );
  }

  #startEtcd(peerPort: number): void {
    const client = `http://127.0.0.1:${this.#etcdPort}`;
    const peer = `http://127.0.0.1:${peerPort}`;
    this.#etcd = this.#spawn('etcd', [
      `--data-dir=${join(this.#directory, 'etcd')}`,
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
      '--unsafe-no-fsync',
    ]);
  }

  #spawn(program: string, args: readonly string[]): ChildProcess {
    const child = spawn(join(this.#assets, program), args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const keep = (data: Buffer): void => {
      this.#log = (this.#log + data.toString('utf8')).slice(-20_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => keep(Buffer.from(`${program}: ${error.message}\n`)));
    return child;
  }

  async #ready(): Promise<boolean> {
    const certificate = join(this.#directory, 'apiserver.crt');
    if (!existsSync(certificate)) return false;
    const options = {
      ca: readFileSync(certificate),
      headers: { Authorization: `Bearer ${ADMIN_TOKEN}` },
      timeout: 2000,
    };
    return new Promise((resolve) => {
      const request = get(`https://127.0.0.1:${this.port}/readyz`, options, (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      });
      request.on('timeout', () => request.destroy());
      request.on('error', () => resolve(false));
    });
  }
}

async function kill(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  server.close();
  await once(server, 'close');
  return port;
}
