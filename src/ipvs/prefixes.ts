/** Addresses and prefixes as elements of sets. */
import { familyOf, formatPrefix, formatV6, type Prefix, prefixContains, v6Bytes } from '../core/net.js';

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

/** A key as nft takes it: names of devices are quoted, for some are words of its own, and some begin with a digit. */
export function keyToken(table: string, key: string): string {
  if (/^(inside|routed|ports|settled|inside_devices|bridges)$/.test(table)) return `"${key}"`;
  return table.startsWith('behind') ? key.replace(/^\S+/, '"$&"') : key;
}

/** An address as nft lists it, which has dotted quads in some of IPv6, in our text; anything else as it is. */
export function listedText(text: string): string {
  const bytes = text.includes(':') ? v6Bytes(text) : undefined;
  return bytes ? formatV6(bytes) : text;
}
