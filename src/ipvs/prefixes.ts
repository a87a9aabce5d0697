/** Prefixes as elements of interval sets. */
import { familyOf, formatPrefix, type Prefix, prefixContains } from '../core/net.js';

/** An interval set takes no prefix within another. */
export function outermost(prefixes: readonly Prefix[]): Prefix[] {
  const once = [...new Map(prefixes.map((prefix) => [formatPrefix(prefix), prefix])).values()];
  return once.filter((inner) => !once.some((outer) => outer.bits < inner.bits && prefixContains(outer, inner.address)));
}

/** As nft tells it: a prefix of one address is that address. */
export function elementOf(prefix: Prefix): string {
  const whole = prefix.bits === (familyOf(prefix.address) === 'v4' ? 32 : 128);
  return whole ? prefix.address : formatPrefix(prefix);
}
