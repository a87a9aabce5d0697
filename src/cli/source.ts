/** Where the objects come from: a folder or the API server. */
import type { Source } from '../core/model.js';
import { kubernetesSource } from '../watch/kubernetes.js';
import { manifestSource } from '../watch/manifests.js';

export interface SourceOptions {
  readonly manifests: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly apiservers: readonly string[];
  readonly nodeName?: string;
}

/** The API server's address as it is kept with the pins. */
export interface Memory {
  readonly remembered?: string | undefined;
  readonly remember?: (address: string) => void;
}

export function openSource(
  { manifests, kubeconfig, apiservers, nodeName }: SourceOptions,
  memory: Memory = {},
): Source {
  if (manifests !== undefined) return manifestSource({ directory: manifests });
  return kubernetesSource({
    ...memory,
    ...(nodeName === undefined ? {} : { nodeName }),
    kubeconfig,
    apiserver: apiservers.length > 0 ? apiservers.join(',') : undefined,
  });
}
