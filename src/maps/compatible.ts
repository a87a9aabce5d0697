/** Do the pinned maps mean what this version takes them to mean? */
import { join } from 'node:path';
import { WeirError } from '../errors.js';
import { lookupElement, mapInfo, withPinned } from '../loader/kernel-map.js';
import { decodeConfig, LAYOUT_HASH, MAPS } from './layout.js';

/** Maps of the same sizes may still mean something else: the pins say which layout they were made with. */
export function refuseOtherLayout(bpfRoot: string): void {
  const pinned = withPinned(join(bpfRoot, MAPS.weir_config.name), (fd) => {
    const value = Buffer.alloc(MAPS.weir_config.valueSize);
    const same = mapInfo(fd).valueSize === value.length; // where it differs, openDataplane tells
    return same && lookupElement(fd, Buffer.alloc(4), value) ? decodeConfig(value).layout : 0;
  });
  if (!pinned || pinned === LAYOUT_HASH) return;
  const [have, want] = [pinned, LAYOUT_HASH].map((hash) => hash.toString(16));
  throw new WeirError(
    'WEIR_LAYOUT',
    `adopt the maps below ${bpfRoot}: their layout is ${have}, this version's ${want}`,
  );
}
