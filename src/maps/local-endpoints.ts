/** Which endpoints on this node the rows of services name. */
import type { Ip } from '../core/net.js';
import type { Rows } from '../core/plan.js';
import { BACKEND_FLAG, decodeBackend } from './layout.js';

/** Addresses of the endpoints on this node that rows name, draining ones included; the value says whether they are the node's own. */
export function localEndpoints(rows: Rows): Map<Ip, { readonly host: boolean }> {
  const found = new Map<Ip, { readonly host: boolean }>();
  for (const row of rows.values()) {
    if (row.table !== 'weir_backends') continue;
    const { address, flags } = decodeBackend(Buffer.from(row.value, 'latin1'));
    if (flags & BACKEND_FLAG.LOCAL) found.set(address, { host: (flags & BACKEND_FLAG.HOST) !== 0 });
  }
  return found;
}
