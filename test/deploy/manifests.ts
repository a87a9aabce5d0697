/** The files of deploy/ as the tests read them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { parseAllDocuments } from 'yaml';

export const CHECKOUT = fileURLToPath(new URL('../../../', import.meta.url));

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Record<string, string> };
}

interface Variable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly configMapKeyRef?: { readonly name: string; readonly key: string };
    readonly fieldRef?: { readonly fieldPath: string };
  };
}

interface Probe {
  readonly httpGet: { readonly host: string; readonly port: number; readonly path: string };
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly Variable[];
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  readonly securityContext: {
    readonly privileged?: boolean;
    readonly allowPrivilegeEscalation: boolean;
    readonly capabilities: { readonly drop: readonly string[]; readonly add?: readonly string[] };
  };
}

export interface DaemonSet extends Manifest {
  readonly spec: {
    readonly selector: { readonly matchLabels: Record<string, string> };
    readonly template: {
      readonly metadata: { readonly labels: Record<string, string> };
      readonly spec: {
        readonly serviceAccountName?: string;
        readonly hostNetwork: boolean;
        readonly initContainers?: readonly Container[];
        readonly containers: readonly Container[];
        readonly volumes: readonly { readonly name: string; readonly hostPath: { readonly path: string } }[];
      };
    };
  };
}

interface Kinds {
  readonly ConfigMap: Manifest & { readonly data: Readonly<Record<string, string>> };
  readonly ServiceAccount: Manifest;
  readonly ClusterRole: Manifest & {
    readonly rules: readonly Readonly<Record<'apiGroups' | 'resources' | 'verbs', readonly string[]>>[];
  };
  readonly ClusterRoleBinding: Manifest & { readonly roleRef: object; readonly subjects: readonly object[] };
  readonly DaemonSet: DaemonSet;
}

/** The documents of a file; a mistake in its YAML, anchors and duplicate keys included, is an error. */
export function documents(file: string): Manifest[] {
  return parseAllDocuments(readFileSync(join(CHECKOUT, file), 'utf8')).map((document) => {
    if (document.errors[0]) throw document.errors[0];
    return document.toJS() as Manifest;
  });
}

export function only<K extends keyof Kinds>(file: string, kind: K): Kinds[K] {
  const [found, more] = documents(file).filter((document) => document.kind === kind);
  if (!found || more) throw new Error(`${file} has not exactly one ${kind}`);
  return found as Kinds[K];
}

export const WEIR_YAML = 'deploy/weir.yaml';
export const CLEANUP_YAML = 'deploy/cleanup.yaml';

/** The container of the agent. */
export function agentContainer(): Container {
  return one(only(WEIR_YAML, 'DaemonSet').spec.template.spec.containers);
}

/** The container of the cleanup. */
export function cleanupContainer(): Container {
  return one(only(CLEANUP_YAML, 'DaemonSet').spec.template.spec.initContainers ?? []);
}

function one(containers: readonly Container[]): Container {
  const [container, more] = containers;
  if (!container || more) throw new Error('there is not exactly one container');
  return container;
}

/** The arguments with `$(NAME)` replaced, as the kubelet does. */
export function expandedArgs(container: Container, values: Readonly<Record<string, string>>): string[] {
  const plain = Object.fromEntries((container.env ?? []).flatMap(({ name, value }) => (value ? [[name, value]] : [])));
  const known: Record<string, string> = { ...plain, ...values };
  return (container.args ?? []).map((text) =>
    text.replace(/\$\((\w+)\)/g, (reference, name: string) => known[name] ?? reference),
  );
}

/** Tests that need root are skipped without it, but never where everything must be tested. */
export function isRoot(t: ExecutionContext): boolean {
  if (process.getuid?.() === 0) return true;
  const what = 'network namespaces, bpf file systems and capabilities need root';
  if (process.env['CI']) t.fail(what);
  else {
    t.log(`left out: ${what}`);
    t.pass();
  }
  return false;
}
