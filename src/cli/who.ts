/** Whose an address is, as far as the tables tell. */
import type { Ip } from '../core/net.js';
import { BACKEND_FLAG, MAPS } from '../maps/layout.js';
import { openTable } from '../maps/table.js';
import { labelOf, readNames } from './service-table.js';

export class Directory implements Disposable {
  readonly #root: string;
  readonly #pods;
  #others: ReadonlyMap<Ip, string> | undefined;

  constructor(root: string) {
    this.#root = root;
    this.#pods = openTable(root, MAPS.weir_pods);
  }

  /** `ns/name` of a pod, `Node name`, `Service ns/name`; '' where no table knows it. */
  of(ip: Ip): string {
    const pod = this.#pods.get(ip)?.text;
    if (pod !== undefined) return pod;
    this.#others ??= readOthers(this.#root);
    return this.#others.get(ip) ?? '';
  }

  [Symbol.dispose](): void {
    this.#pods[Symbol.dispose]();
  }
}

/** A node is known by its endpoints: those with the host's network have its address. */
function readOthers(root: string): Map<Ip, string> {
  const names = readNames(root);
  const found = new Map<Ip, string>();
  using uplinks = openTable(root, MAPS.weir_uplinks);
  for (const [, { ifindex, address4, address6 }] of uplinks.entries())
    if (ifindex !== 0) for (const ip of [address4, address6]) found.set(ip, 'this node');
  using backends = openTable(root, MAPS.weir_backends);
  for (const [, { address, flags, node, service }] of backends.entries()) {
    const host = (flags & BACKEND_FLAG.HOST) !== 0 ? names.get(node) : undefined;
    const { namespace, name } = labelOf(names, service);
    found.set(address, host ?? found.get(address) ?? `backend of ${namespace}/${name}`);
  }
  using frontends = openTable(root, MAPS.weir_frontends);
  for (const [{ address }, { service }] of frontends.entries()) {
    const { namespace, name } = labelOf(names, service);
    if (!found.has(address)) found.set(address, `Service ${namespace}/${name}`);
  }
  return found;
}
