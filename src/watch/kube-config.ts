/**
 * Where the API server is and how to talk to it. The Kubernetes client library is used for this alone (kubeconfig files,
 * service accounts, exec plugins, certificates), and is loaded only when it is needed: it costs 80 MB of memory.
 */
import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { isIP } from 'node:net';
import { dirname, resolve } from 'node:path';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import type { Cluster, KubeConfig, User } from '@kubernetes/client-node';
import { parse } from 'yaml';
import { asRecord } from '../core/objects-field.js';
import { WeirError } from '../errors.js';

export interface ApiServer {
  /** Scheme, host, port and path prefix, without a slash at the end. */
  readonly url: string;
  /** Options of one request: credentials are read again each time, because tokens and certificates rotate. */
  options(): Promise<RequestOptions>;
}

export interface ApiAddress {
  /** Path of a kubeconfig file; without it the pod's service account. */
  readonly kubeconfig?: string | undefined;
  /** `HOST:PORT[,HOST:PORT...]` in place of the configured server. */
  readonly apiserver?: string | undefined;
  /** `HOST:PORT` that answered an earlier agent: tried when the others do not answer. */
  readonly remembered?: string | undefined;
}

/** A name that the certificate of every API server carries. */
const COMMON_NAME = 'kubernetes.default.svc';

/** The API servers to try, in order. Throws WEIR_API where the configuration cannot be used. */
export async function loadApiServers(address: ApiAddress): Promise<readonly ApiServer[]> {
  const { KubeConfig: Config } = await import('@kubernetes/client-node');
  const config = new Config();
  if (address.kubeconfig !== undefined) await loadFile(config, address.kubeconfig);
  else loadServiceAccount(config, address.apiserver !== undefined);
  const cluster = config.getCurrentCluster();
  if (!cluster)
    throw new WeirError(
      'WEIR_API',
      `read ${address.kubeconfig ?? 'service account'}: its current context names no cluster`,
    );
  const user = config.getCurrentUser() ?? { name: 'anonymous' };
  const given = address.apiserver?.split(',').map((text) => replaceHost(cluster.server, text.trim())) ?? [
    cluster.server,
  ];
  const remembered = address.remembered ? [replaceHost(cluster.server, address.remembered)] : [];
  return [...new Set([...given, ...remembered])].map((url) => {
    const own = new Config();
    // The library refuses plain HTTP unless certificate checks are off; over HTTP there is none to check.
    const skipTLSVerify = cluster.skipTLSVerify || url.startsWith('http:');
    own.loadFromClusterAndUser({ ...cluster, ...serverName(cluster, url), server: url, skipTLSVerify }, user);
    return { url, options: () => requestOptions(own, acceptedNames(cluster, url)) };
  });
}

async function loadFile(config: KubeConfig, path: string): Promise<void> {
  try {
    config.loadFromFile(path);
    const user = config.getCurrentUser();
    const tokenFile = user && !user.token ? await findTokenFile(path, user) : undefined;
    if (user && tokenFile !== undefined) {
      config.users = config.users.map((entry) =>
        entry.name === user.name ? { ...user, authProvider: { name: 'tokenFile', config: { tokenFile } } } : entry,
      );
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new WeirError('WEIR_API', `read kubeconfig ${path}: ${reason}`, { cause: error });
  }
}

/** The library (1.4.0) does not know `tokenFile`, which the kubeconfig of kube-proxy uses. */
async function findTokenFile(path: string, user: User): Promise<string | undefined> {
  const users: unknown = asRecord(parse(await readFile(path, 'utf8')))?.['users'];
  const entry: unknown = Array.isArray(users)
    ? users.find((each: unknown) => asRecord(each)?.['name'] === user.name)
    : undefined;
  const file = asRecord(asRecord(entry)?.['user'])?.['tokenFile'];
  return typeof file === 'string' ? resolve(dirname(path), file) : undefined;
}

function loadServiceAccount(config: KubeConfig, addressGiven: boolean): void {
  if (!process.env['KUBERNETES_SERVICE_HOST'] && !addressGiven) {
    const hint = 'this is no pod (KUBERNETES_SERVICE_HOST is not set): give --kubeconfig or --manifests';
    throw new WeirError('WEIR_API', `find the API server: ${hint}`);
  }
  config.loadFromCluster();
}

/** The given address with the scheme and path prefix of the configured server (which in a pod may have no usable address). */
function replaceHost(server: string, text: string): string {
  const configured = URL.canParse(server) ? new URL(server) : new URL('https://none');
  const url = text.includes('://') ? text : `${configured.protocol}//${text}`;
  if (text === '' || !URL.canParse(url))
    throw new WeirError('WEIR_USAGE', `--apiserver: ${JSON.stringify(text)} is not HOST:PORT`);
  return `${new URL(url).origin}${configured.pathname.replace(/\/$/, '')}`;
}

/** TLS must ask for a name that the certificate holds, whichever address leads there; an IP address cannot be asked for. */
function serverName(cluster: Cluster, url: string): { tlsServerName?: string } {
  if (cluster.tlsServerName) return { tlsServerName: cluster.tlsServerName };
  if (url === cluster.server) return {};
  const host = hostOf(cluster.server);
  return { tlsServerName: isIP(host) > 0 || host === '' ? COMMON_NAME : host };
}

/** Any of these in the certificate will do: the authority that signs it belongs to this cluster alone. */
function acceptedNames(cluster: Cluster, url: string): readonly string[] {
  if (url === cluster.server) return [];
  return [cluster.tlsServerName ?? '', hostOf(cluster.server), hostOf(url), COMMON_NAME].filter((name) => name !== '');
}

function hostOf(server: string): string {
  return URL.canParse(server) ? new URL(server).hostname.replace(/^\[|\]$/g, '') : '';
}

async function requestOptions(config: KubeConfig, names: readonly string[]): Promise<RequestOptions> {
  const options: RequestOptions = { headers: { Accept: 'application/json', 'User-Agent': 'weir' } };
  await config.applyToHTTPSOptions(options);
  if (names.length > 0) options.checkServerIdentity = (_host, certificate) => checkNames(names, certificate);
  return options;
}

function checkNames(names: readonly string[], certificate: PeerCertificate): Error | undefined {
  const refusals = names.map((name) => checkServerIdentity(name, certificate));
  return refusals.includes(undefined) ? undefined : refusals[0];
}
