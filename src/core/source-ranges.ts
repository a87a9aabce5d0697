/** Who may open flows to the load balancer addresses of a service, as kube-proxy has it. */
import { type Family, familyOf, type Ip, type Prefix, prefixContains } from './net.js';

/**
 * The sources to admit, for one family: none where nothing of that family is listed, and then everybody may come. Where a range
 * has an address of this node, the service's addresses are admitted as sources, too: so the node appears to itself.
 */
export function admitted(
  ranges: readonly Prefix[],
  family: Family,
  addresses: readonly Ip[],
  own: ReadonlySet<Ip>,
): readonly Prefix[] {
  const listed = ranges.filter((range) => familyOf(range.address) === family);
  if (listed.length === 0 || addresses.length === 0) return [];
  const nodeToo = [...own].some((address) => listed.some((range) => prefixContains(range, address)));
  const bits = family === 'v4' ? 32 : 128;
  return [...listed, ...(nodeToo ? addresses.map((address) => ({ address, bits })) : [])];
}
