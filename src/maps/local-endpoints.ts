/** Which endpoints on this node the rows of services name. */
import type { Ip } from '../core/net.js';
import { rowKey, type Rows } from '../core/plan.js';
import { encodeOne, u32Codec } from './codec.js';
import { BACKEND_FLAG, decodeBackend, decodeLocalBackend } from './layout.js';

/** Addresses of the endpoints on this node that rows name, draining ones included; the value says whether they are the node's own. */
export function localEndpoints(rows: Rows): Map<Ip, { readonly host: boolean }> {
  const found = new Map<Ip, { readonly host: boolean }>();
  for (const row of rows.values()) {
    /* of those that have an entry here, since all backends of the cluster are many */
    if (row.table !== 'weir_local') continue;
    const { backend } = decodeLocalBackend(Buffer.from(row.value, 'latin1'));
    const known = rows.get(rowKey({ table: 'weir_backends', key: encodeOne(u32Codec, backend).toString('latin1') }));
    if (!known) continue;
    const { address, flags } = decodeBackend(Buffer.from(known.value, 'latin1'));
    found.set(address, { host: (flags & BACKEND_FLAG.HOST) !== 0 });
  }
  return found;
}
